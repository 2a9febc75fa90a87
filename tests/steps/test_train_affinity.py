"""Step train-affinity: the same weights after kills, and photos that are not used."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affinity_scenes import affinity_model, drawn_labels
from PIL import Image
from safetensors.torch import load_file

from small_runs import (
    MOMENT,
    cut_off,
    end_of,
    kill_when,
    one_rank,
    recipe,
    start,
    trained,
    write_recipe,
)
from tag2mask.affinity.labels import label_path
from tag2mask.affinity.network import load_affinity_net
from tag2mask.artifacts.handles import AffinityLabels, AffinityModel, Handle, PreparedData
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.corrections.folder import CORRECTIONS
from tag2mask.data.masks import write_mask
from tag2mask.errors import DataError, RecipeError, RunFolderError, WeightsError
from tag2mask.steps.train_affinity import import_model, train_affinity
from tag2mask.training import loop as fit_module


@pytest.fixture
def labels(data: PreparedData, tmp_path: Path) -> AffinityLabels:
    return drawn_labels(data, tmp_path / "affinity-labels")


def train(
    data: PreparedData, labels: AffinityLabels, out: Path, workers: int = 0, **changes: Any
) -> AffinityModel:
    changed = {f"train_affinity__{key}": value for key, value in changes.items()}
    return train_affinity(data, labels, recipe(**changed).train_affinity, out, one_rank(workers))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same_bits(left: Path, right: Path) -> bool:
    one, other = weights(left), weights(right)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "losses.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k != "photos_per_second"}
            for row in csv.DictReader(file)
        ]


def test_a_network_from_before_drawn_masks_were_recorded_stays_valid(
    data: PreparedData, tmp_path: Path
) -> None:
    made: dict[str, Handle | str] = {"data": data, CORRECTIONS: "drawn"}
    with step_folder(AffinityLabels, tmp_path / "labels", section={}, coverage=made) as step:
        labels = step.finish()
    inputs, out = {"data": data, "labels": labels}, tmp_path / "model"
    with step_folder(AffinityModel, out, section=recipe().train_affinity, inputs=inputs) as folder:
        (folder.path / "model.safetensors").write_bytes(b"network")
        before = folder.finish().manifest
    assert train(data, labels, out).manifest == before
    made[CORRECTIONS] = "drawn later"
    with step_folder(AffinityLabels, labels.path, section={}, coverage=made) as step:
        labels = step.finish()
    with pytest.raises(RunFolderError, match=r"input corrections: \(absent\) -> drawn later"):
        train(data, labels, out)


def test_training_writes_a_model_that_loads(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path
) -> None:
    model = train(data, labels, tmp_path / "model")
    found = {path.name for path in model.path.iterdir() if not path.name.startswith(".")}
    assert found == {"manifest.json", "model.safetensors", "losses.csv", "tensorboard"}
    assert {"bg", "fg", "neg", "loss", "lr"} <= rows(model.path)[0].keys()
    assert model.manifest.counts == {"photos": 9, "without_sure_pixels": 0}
    assert model.manifest.metrics["steps"] == 2
    net, spec = load_affinity_net(model.path / "model.safetensors")
    assert (spec.backbone, spec.levels, spec.radius) == ("test_efficientnet", (4, 4, 8), 5)
    with torch.no_grad():
        affinity = net(torch.zeros(1, 3, 64, 64), radius=5)
    assert affinity.shape[1] == 34 and torch.isfinite(affinity).all()
    before = (model.path / "model.safetensors").stat().st_mtime_ns
    train(data, labels, tmp_path / "model", log_every=5)
    assert (model.path / "model.safetensors").stat().st_mtime_ns == before


def test_the_loss_decreases_if_colors_separate_the_classes(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path
) -> None:
    for path in (data.path.parent / "photos").rglob("*.png"):
        pixels = np.full((*Image.open(path).size[::-1], 3), 20, np.uint8)
        pixels[:, : pixels.shape[1] // 2] = 230
        Image.fromarray(pixels).save(path)
    model = train(
        data,
        labels,
        tmp_path / "model",
        epochs=20,
        optimizer={"lr": 0.003},
        freeze_batch_norm=False,
    )
    losses = [float(row["loss"]) for row in rows(model.path)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_training_resumes_from_the_checkpoint(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"epochs": 4, "checkpoint_minutes": 1e-6}
    complete = train(data, labels, tmp_path / "complete", **changes)
    step = fit_module._Loop.step
    limit = 3

    def stepped(loop: Any, number: int, batches: Any) -> dict[str, float]:
        if number == limit:
            raise KeyboardInterrupt
        return step(loop, number, batches)

    monkeypatch.setattr(fit_module._Loop, "step", stepped)
    for limit in (3, 6):  # noqa: B007 (read by stepped)
        with pytest.raises(KeyboardInterrupt):
            train(data, labels, tmp_path / "broken", **changes)
    limit = -1
    broken = train(data, labels, tmp_path / "broken", workers=1, **changes)
    assert same_bits(complete.path, broken.path)
    assert rows(complete.path) == rows(broken.path)


@pytest.mark.slow
def test_weights_are_the_same_after_kills(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"epochs": 60, "checkpoint_minutes": 1e-4}
    complete = train(data, labels, tmp_path / "complete", **changes)
    settings = write_recipe(
        tmp_path / "recipe.yaml",
        **{f"train_affinity__{key}": value for key, value in changes.items()},
    )
    out = tmp_path / "killed"
    line = [
        "train-affinity",
        "--data",
        data.path,
        "--labels",
        labels.path,
        "--recipe",
        settings,
        "--out",
        out,
    ]
    for count in (MOMENT.randint(1, 25), MOMENT.randint(35, 60)):
        kill_when(
            start(*line),
            lambda count=count: (out / "losses.csv").is_file() and len(rows(out)) >= count,
        )
        assert not (out / "manifest.json").exists()
    end_of(start(*line))
    assert same_bits(complete.path, out)
    assert rows(complete.path) == rows(out)


def test_photos_without_a_sure_pixel_are_omitted_and_listed(
    data: PreparedData, tmp_path: Path
) -> None:
    unsure = ("a/00", "b/01")
    labels = drawn_labels(data, tmp_path / "labels", unsure)
    model = train(data, labels, tmp_path / "model")
    assert model.manifest.counts == {"photos": 7, "without_sure_pixels": 2}
    assert model.manifest.metrics["without_sure_pixels"] == ["a/00", "b/01"]
    assert model.manifest.skipped == ()


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_mixed_precision_learns_and_stores_float32(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path, precision: str
) -> None:
    model = train(data, labels, tmp_path / "mixed", precision=precision)
    exact = weights(train(data, labels, tmp_path / "exact", precision="32").path)
    mixed = weights(model.path)
    assert all(t.dtype == exact[name].dtype and t.isfinite().all() for name, t in mixed.items())
    assert any(not torch.equal(t, exact[name]) for name, t in mixed.items())
    assert float(rows(model.path)[-1]["loss"]) > 0


def test_labels_without_any_sure_pixel_are_an_error(data: PreparedData, tmp_path: Path) -> None:
    ids = tuple(
        path.relative_to(tmp_path / "photos").with_suffix("").as_posix()
        for path in (tmp_path / "photos").rglob("*.png")
    )
    labels = drawn_labels(data, tmp_path / "labels", ids)
    with pytest.raises(DataError, match=r"no photo has a single sure pixel.*alpha_factors"):
        train(data, labels, tmp_path / "model")


def test_labels_must_belong_to_the_photos(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path
) -> None:
    path = label_path(labels.path, "a/00")
    complete = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match="'a/00' has no affinity labels"):
        train(data, labels, tmp_path / "missing")
    Image.new("L", (5, 4)).save(path)
    with pytest.raises(DataError, match=r"labels of 5x4 px for a photo of"):
        train(data, labels, tmp_path / "size")
    Image.new("L", Image.open(data.path.parent / "photos" / "a" / "00.png").size, 7).save(path)
    with pytest.raises(DataError, match=r"mask has the values 7; 3 classes"):
        train(data, labels, tmp_path / "classes")
    path.write_bytes(complete)
    assert train(data, labels, tmp_path / "size").manifest.counts["photos"] == 9


def test_photos_without_labels_are_omitted(data: PreparedData, tmp_path: Path) -> None:
    labels = drawn_labels(data, tmp_path / "labels", without=("a/00",))
    assert train(data, labels, tmp_path / "model").manifest.counts["photos"] == 8


def test_published_training_learns_from_marginals_at_the_photos_size(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path
) -> None:
    published: dict[str, Any] = {"behavior": "published", "long_side": None}
    with pytest.raises(DataError, match=r"'a/00' has labels, but no marginals.*published"):
        train_published(data, labels, tmp_path / "none", **published)
    unsure = ("a/00",)
    marginals = drawn_labels(data, tmp_path / "marginals", unsure, marginals=True)
    model = train_published(data, marginals, tmp_path / "model", **published)
    # Photos without a sure pixel stay: batches are those of the authors' code.
    assert model.manifest.counts == {"photos": 9, "without_sure_pixels": 0}
    assert all(np.isfinite(float(row["loss"])) for row in rows(model.path))
    # The label maps are not read: without the pixels' labels, the same network is trained.
    for path in (marginals.path / "labels").rglob("*.png"):
        size = Image.open(path).size
        write_mask(path, np.eye(size[1], size[0], dtype=np.uint8), [(0, 0, 0)] * 4)
    again = train_published(data, marginals, tmp_path / "again", **published)
    assert same_bits(model.path, again.path)


def train_published(
    data: PreparedData, labels: AffinityLabels, out: Path, **changes: Any
) -> AffinityModel:
    section = recipe().train_affinity.model_copy(update=changes)
    return train_affinity(data, labels, section, out, one_rank())


def test_an_unreadable_photo_stops_or_is_skipped(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path
) -> None:
    cut_off(data.path.parent / "photos" / "a" / "00.png")
    with pytest.raises(DataError, match=r"photo can't be read.*00\.png"):
        train(data, labels, tmp_path / "stops", epochs=4)
    model = train(data, labels, tmp_path / "goes-on", epochs=4, skip_bad=True)
    assert [line.split(":")[0] for line in model.manifest.skipped] == ["a/00"]
    assert model.manifest.counts["photos"] == 8


def test_other_labels_and_settings_are_rejected(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path
) -> None:
    train(data, labels, tmp_path / "model")
    with pytest.raises(RunFolderError, match=r"train_affinity\.radius: 5 -> 4"):
        train(data, labels, tmp_path / "model", radius=4)
    other = drawn_labels(data, tmp_path / "other", without=("a/00",))
    with pytest.raises(RunFolderError, match=r"input labels.*--update"):
        train(data, other, tmp_path / "model")


def test_a_batch_smaller_than_the_processes_names_its_setting(
    data: PreparedData, labels: AffinityLabels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tag2mask.runtime.session import Runtime

    runtime = one_rank()
    monkeypatch.setattr(Runtime, "world_size", property(lambda _: 5))
    with pytest.raises(RecipeError, match=r"train_affinity\.batch_size"):
        train_affinity(data, labels, recipe().train_affinity, tmp_path / "model", runtime)


def test_a_trained_model_can_be_imported(data: PreparedData, tmp_path: Path) -> None:
    made = affinity_model(tmp_path / "made")
    taken = import_model(made.path / "model.safetensors", tmp_path / "taken")
    assert same_bits(made.path, taken.path)
    cam = trained(data, tmp_path / "cam")
    with pytest.raises(WeightsError, match="CAM"):
        import_model(cam.path / "model.safetensors", tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
