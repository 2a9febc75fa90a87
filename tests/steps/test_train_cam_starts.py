"""Step train-cam with several starts: the chosen head, the features, the same bits after kills."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from small_runs import (
    cut_off,
    interrupt_when,
    invoke,
    one_rank,
    prepared,
    recipe,
    start,
    trained,
    write_recipe,
    write_table,
)
from tag2mask.artifacts.handles import PreparedData
from tag2mask.data.index import read_classes, read_index
from tag2mask.errors import DataError, RecipeError, RunFolderError
from tag2mask.seam.model import build_seam, load_seam
from tag2mask.steps.train_cam import net_spec, train_cam
from tag2mask.steps.trainers import frozen_features
from tag2mask.steps.trainers.frozen_features import FEATURES, compute_features
from tag2mask.training.checkpoint import save_checkpoint

STARTS: dict[str, Any] = {
    "train_cam__backbone__output_stride": 8,
    "train_cam__truncate_backbone": True,
    "train_cam__pooling": "top",
    "train_cam__starts": 3,
    "train_cam__pcm__enabled": False,
    "train_cam__views__enabled": False,
    "train_cam__long_side": None,
    "train_cam__epochs": 3,
}


class KilledError(Exception):
    pass


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same_bits(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_the_network_gets_one_head_and_keeps_its_backbone(
    data: PreparedData, tmp_path: Path
) -> None:
    model = trained(data, tmp_path / "model", **STARTS)
    found = {path.name for path in model.path.iterdir() if not path.name.startswith(".")}
    assert found == {"manifest.json", "model.safetensors", "losses.csv", "tensorboard"}
    metrics = model.manifest.metrics
    assert set(metrics["starts"]) == {"cat", "dog", "bird"}
    assert all(1 <= own["heads"] <= 3 for own in metrics["starts"].values())
    assert model.manifest.counts == {"photos": 9}
    net, spec = load_seam(model.file)
    assert spec.pooling == "top" and spec.centered
    head = weights(model.path)["head.weight"]
    assert head.shape[0] == 4 and not head[0].any() and head[1:].any(dim=1).all()
    section = recipe(**STARTS).train_cam
    with one_rank().seeded(section.seed):
        begun = build_seam(net_spec(section, read_classes(data.path)))
    for name, tensor in begun.backbone.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(tensor, net.backbone.state_dict()[name])  # type: ignore[attr-defined]


@pytest.mark.parametrize("crop", [64, 32])
def test_features_are_those_of_the_network_in_inference(
    data: PreparedData, tmp_path: Path, crop: int
) -> None:
    """In tiles too: a head on the blended features gives the blended maps of infer-cam."""
    section = recipe(**STARTS, train_cam__crop=crop).train_cam
    net = build_seam(net_spec(section, read_classes(data.path))).eval()
    samples = read_index(data.path, "train")
    lost = type("Skipped", (), {"lines": lambda self: []})()
    features = compute_features(net, samples, section, tmp_path, one_rank(), lost, name="x")
    statistics = features.statistics()
    cells = torch.cat([features.read(i).double().flatten(1) for i in range(len(samples))], dim=1)
    torch.testing.assert_close(statistics.mean.double(), cells.mean(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        statistics.variance.double(), cells.var(dim=1, correction=0), rtol=1e-4, atol=1e-5
    )
    sample = next(s for s in samples if s.size == (64, 64))
    photo = torch.from_numpy(np.array(Image.open(sample.image))).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (net.backbone.mean, net.backbone.std))
    view = ((photo - mean) / std)[None]
    found = features.read(samples.index(sample)).float()
    if crop == 64:
        with torch.no_grad():
            torch.testing.assert_close(found, net.backbone(view).last[0], rtol=2e-3, atol=2e-3)
        return
    from tag2mask.seam.tiled_maps import MapTiles, plain_maps_in_tiles

    assert net.head_norm is not None
    normalized = (found - 0) / (1 + net.head_norm.eps) ** 0.5
    with torch.no_grad():
        tiled = plain_maps_in_tiles(net, view, MapTiles(crop))
        torch.testing.assert_close(net.head(normalized[None]), tiled.cam, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("after", [0, 2, 3])
def test_an_interrupted_training_ends_with_the_same_bits(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """``after``: checkpoints before the interruption; 0: among the features."""
    changes = STARTS | {"train_cam__checkpoint_minutes": 1e-9}
    whole = trained(data, tmp_path / "whole", **changes)
    written = 0

    def save_and_stop(*arguments: Any) -> None:
        nonlocal written
        save_checkpoint(*arguments)
        written += 1
        if written == after:
            raise KilledError

    def stop_among_features(*_: Any, **__: Any) -> None:
        if len(list((tmp_path / "cut" / FEATURES).rglob("*.npy"))) >= 4:
            raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        if after:
            patched.setattr("tag2mask.training.loop.save_checkpoint", save_and_stop)
        else:
            real = frozen_features.read_photo
            patched.setattr(
                frozen_features,
                "read_photo",
                lambda *a, **k: (stop_among_features(), real(*a, **k))[1],
            )
        trained(data, tmp_path / "cut", **changes)
    assert (tmp_path / "cut" / FEATURES).is_dir()
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut" / FEATURES).rglob("*.npy")}
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *a, **k: None)
        resumed = trained(data, tmp_path / "cut", **changes)
    assert all(path.stat().st_mtime_ns == then for path, then in times.items()) and times
    assert same_bits(weights(whole.path), weights(resumed.path))
    assert whole.manifest.metrics["starts"] == resumed.manifest.metrics["starts"]


def test_a_cut_off_file_of_features_is_computed_again(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(data, tmp_path / "whole", **STARTS)
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(
            "tag2mask.steps.trainers.cam_starts.fit",
            lambda *a, **k: (_ for _ in ()).throw(KilledError),
        )
        trained(data, tmp_path / "cut", **STARTS)
    first, second, *_ = sorted((tmp_path / "cut" / FEATURES).rglob("*.npy"))
    first.write_bytes(first.read_bytes()[:-10])
    second.write_bytes(b"")
    assert same_bits(weights(whole.path), weights(trained(data, tmp_path / "cut", **STARTS).path))


def test_the_command_line_resumes_and_prints_the_classes(
    data: PreparedData, tmp_path: Path
) -> None:
    changes = STARTS | {"train_cam__epochs": 200, "train_cam__checkpoint_minutes": 1e-9}
    settings = write_recipe(tmp_path / "recipe.yaml", **changes)
    line = ["train-cam", "--data", data.path, "--recipe", settings, "--out"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = invoke(*line, whole)
    assert done.exit_code == 0, done.output
    assert "of 3 heads, average precision" in done.stderr
    interrupt_when(start(*line, cut), lambda: (cut / "checkpoint.pt").is_file())
    assert invoke(*line, cut).exit_code == 0
    assert same_bits(weights(whole), weights(cut))


def test_an_unreadable_photo_is_refused_or_skipped(tmp_path: Path) -> None:
    from small_runs import write_photos

    photos = write_photos(tmp_path / "photos")
    data = prepared(photos, tmp_path / "prepare")
    cut_off(photos / "a" / "00.png")
    with pytest.raises(DataError, match="--skip-bad"):
        trained(data, tmp_path / "refused", **STARTS)
    assert not (tmp_path / "refused" / "manifest.json").exists()
    model = trained(data, tmp_path / "skipped", **STARTS, train_cam__skip_bad=True)
    assert [line.split(":")[0] for line in model.manifest.skipped] == ["a/00"]
    assert model.manifest.counts == {"photos": 8}


def test_a_disk_that_is_too_small_is_an_error_before_the_first_photo(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(RunFolderError, match="GiB while train-cam runs"):
        trained(data, tmp_path / "model", **STARTS)
    assert not (tmp_path / "model" / FEATURES).exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train_cam__pooling": "avg"}, ["pooling=top"]),
        ({"train_cam__pcm__enabled": True}, ["pcm.enabled=false"]),
        ({"train_cam__views__enabled": True}, ["views.enabled=false"]),
        ({"train_cam__head": "mdc"}, ["head=cam"]),
        ({"train_cam__warm_start": 1}, ["warm_start=0"]),
        ({"train_cam__behavior": "published"}, ["behavior=default"]),
        ({"train_cam__init_from": "model.safetensors"}, ["init_from=null"]),
        (
            {"train_cam__long_side": [48, 80], "train_cam__pooling": "avg"},
            ["pooling=top", "long_side=null"],
        ),
    ],
)
def test_settings_with_which_several_starts_have_no_meaning_are_refused(
    changes: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(RecipeError, match=r"train_cam\.starts") as caught:
        recipe(**(STARTS | changes))
    assert all(f"train_cam.{name}" in str(caught.value) for name in named)
    recipe(**(STARTS | changes | {"train_cam__starts": 1}))


def test_one_start_is_the_training_of_before(data: PreparedData, tmp_path: Path) -> None:
    one = STARTS | {"train_cam__starts": 1}
    without = {key: value for key, value in one.items() if key != "train_cam__starts"}
    model = trained(data, tmp_path / "model", **one)
    assert "starts" not in model.manifest.metrics
    before = model.manifest.identity
    assert trained(data, tmp_path / "model", **without).manifest.identity == before


def test_classes_are_learned_from_features_alone(tmp_path: Path) -> None:
    """Photos with a bright cell: every held-out tag is ranked, and the map's highest cell is it."""
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    places, rows = {}, []
    for index in range(32):
        pixels = rng.integers(90, 110, (64, 96, 3), np.uint8)
        y, x = (int(rng.integers(1, side)) * 8 for side in (7, 11))
        if index % 3 == 0:
            pixels[y : y + 8, x : x + 8] = 255
            places[index] = (y, x)
        Image.fromarray(pixels).save(photos / f"{index:02}.png")
        rows.append(
            [f"{index:02}.png", "" if index % 3 else "cat", "train" if index < 30 else "val"]
        )
    write_table(photos, rows)
    (photos / "classes.txt").write_text("cat\n")
    data = prepared(photos, tmp_path / "prepare")
    changes = STARTS | {"train_cam__epochs": 30}
    model = train_cam(data, recipe(**changes).train_cam, tmp_path / "model", one_rank())
    own = model.manifest.metrics["starts"]["cat"]
    assert own["average_precision"] == 1.0 and own["held_out"] and own["photos"] == 3
    net, _ = load_seam(model.file)
    near = 0
    for index, (y, x) in places.items():
        photo = torch.from_numpy(np.array(Image.open(photos / f"{index:02}.png"))).float() / 255
        mean, std = (torch.tensor(v) for v in (net.backbone.mean, net.backbone.std))
        with torch.no_grad():
            cam = net(((photo - mean) / std).permute(2, 0, 1)[None], own_grid=True).cam[0, 1]
        row, column = divmod(int(cam.argmax()), cam.shape[1])
        near += abs(row * 8 - y) <= 8 and abs(column * 8 - x) <= 8
    assert near >= len(places) - 2
