"""Step train-cam: the same weights after kills, no access to masks, bad photos and weights."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from small_runs import (
    MOMENT,
    cut_off,
    end_of,
    interrupt_when,
    invoke,
    kill_when,
    one_rank,
    prepared,
    read_table,
    recipe,
    start,
    trained,
    write_photos,
    write_recipe,
    write_table,
)
from tag2mask.artifacts.handles import CamModel, PreparedData
from tag2mask.artifacts.step_folder import Step
from tag2mask.data.index import read_classes, read_index
from tag2mask.errors import (
    DataError,
    DeviceError,
    RunFolderError,
    Tag2MaskError,
    WeightsError,
)
from tag2mask.recipe.training import TrainCam, Views
from tag2mask.runtime.session import Runtime
from tag2mask.seam.model import build_seam
from tag2mask.seam.network import SeamNet
from tag2mask.seam.objective import SeamObjective
from tag2mask.steps.train_cam import net_spec, train_cam
from tag2mask.steps.trainers.cam_task import CamTask, ViewDraw
from tag2mask.training import loop as fit_module


def weights(model: CamModel | Path) -> dict[str, torch.Tensor]:
    folder = model if isinstance(model, Path) else model.path
    return load_file(folder / "model.safetensors")


def same_bits(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses(folder: Path) -> list[dict[str, str]]:
    """Return the log without the columns that depend on time."""
    return [{k: v for k, v in row.items() if k != "photos_per_second"} for row in rows(folder)]


def test_training_writes_model_log_and_pictures_and_nothing_else(
    data: PreparedData, tmp_path: Path
) -> None:
    model = trained(data, tmp_path / "model", train_cam__picture_every=2)
    found = {path.name for path in model.path.iterdir() if not path.name.startswith(".")}
    assert found == {"manifest.json", "model.safetensors", "losses.csv", "tensorboard", "pictures"}
    assert [path.name for path in (model.path / "pictures").iterdir()] == ["step_000002.jpg"]
    assert [row["step"] for row in rows(model.path)] == ["1", "2"]
    assert {"cls1", "cls2", "er", "ecr1", "ecr2", "min1", "lr"} <= rows(model.path)[0].keys()
    manifest = model.manifest
    assert manifest.counts == {"photos": 9}
    assert manifest.metrics["steps"] == 2
    before = (model.path / "model.safetensors").stat().st_mtime_ns
    trained(data, tmp_path / "model", train_cam__log_every=5)
    assert (model.path / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("gated", [False, True])
def test_pictures_show_the_maps_of_inference(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gated: bool
) -> None:
    """Of the average of the weights, and with PCM gated by the tags."""
    seen: list[tuple[bool, torch.Tensor]] = []
    forward = SeamNet.forward

    def noted(self: SeamNet, *given: Any, **named: Any) -> Any:
        if not self.training:
            first = next(iter(self.head.parameters()))
            seen.append((named.get("tags") is not None, first.detach().clone()))
        return forward(self, *given, **named)

    monkeypatch.setattr(SeamNet, "forward", noted)
    changes: dict[str, Any] = {"train_cam__picture_every": 1, "train_cam__optimizer__ema": 0.5}
    model = trained(data, tmp_path / "model", **changes, train_cam__pcm__gate_by_tags=gated)
    assert seen and {tagged for tagged, _ in seen} == {gated}
    saved = load_file(model.file)
    assert any(torch.equal(seen[-1][1], tensor) for tensor in saved.values())


@pytest.mark.parametrize("siamese", [False, True])
def test_every_branch_of_an_mdc_head_is_trained(
    data: PreparedData, tmp_path: Path, siamese: bool
) -> None:
    changes: dict[str, Any] = {
        "train_cam__head": "mdc",
        "train_cam__mdc_rates": [1, 2, 3],
        "train_cam__mdc_channels": 4,
        "train_cam__pcm__enabled": siamese,
        "train_cam__views__enabled": siamese,
    }
    model = trained(data, tmp_path / "model", **changes)
    found = weights(model)
    begun = weights(trained(data, tmp_path / "begun", **changes, train_cam__max_steps=1))
    branches = [name for name in found if name.startswith("head.")]
    assert len(branches) == 3 * 3
    for name in branches:
        assert not torch.equal(found[name], begun[name]), name
    assert same_bits(found, weights(trained(data, tmp_path / "again", **changes)))
    assert ("cls2" in rows(model.path)[0]) == siamese


def test_each_step_has_a_view_of_its_own() -> None:
    views = Views(scale=(0.3, 0.9), flip=0.5, rotate=10.0, translate=0.1)
    drawn = [ViewDraw(views, seed).at(step) for seed in (0, 1) for step in range(20)]
    assert len({view.scale for view in drawn}) == len(drawn)
    assert ViewDraw(views, 1).at(3) == drawn[23]
    assert {view.flip for view in drawn} == {False, True}
    assert all(0.3 <= view.scale <= 0.9 and abs(view.rotate) <= 10 for view in drawn)


@pytest.mark.parametrize("behavior", ["default", "published"])
def test_published_colors_are_jittered_before_the_crop(data: PreparedData, behavior: str) -> None:
    section = recipe(
        train_cam__behavior=behavior, train_cam__long_side=[80, 80], train_cam__crop=32
    ).train_cam
    spec = net_spec(section, read_classes(data.path))
    samples = read_index(data.path, "train")
    step: Step[CamModel] = Step.__new__(Step)  # only a training that skips photos uses it
    task = CamTask(build_seam(spec), spec, samples, section, one_rank(), step)
    sizes: list[tuple[int, int]] = []

    def jitter(photo: Image.Image) -> Image.Image:
        sizes.append(photo.size)
        return photo

    task.photos.draw_jitter = lambda seed: jitter  # type: ignore[method-assign]
    *_, crop = task.photos.cropped((0, 0))
    assert sizes == [crop.size if behavior == "published" else (32, 32)]
    assert min(crop.size) > 32


def test_er_and_ecr_are_ramped(data: PreparedData) -> None:
    section = recipe(train_cam__losses__ramp=0.5, train_cam__epochs=2).train_cam
    spec = net_spec(section, read_classes(data.path))
    samples = read_index(data.path, "train")
    step: Step[CamModel] = Step.__new__(Step)  # only a training that skips photos uses it
    task = CamTask(build_seam(spec), spec, samples, section, one_rank(), step)
    full = task.module.total_weights(two_views=True)
    assert task.settings.steps == 4
    for at, share in ((0, 0.0), (1, 0.5), (2, 1.0), (3, 1.0)):
        ramped = {name for name in full if name in ("er", "ecr1", "ecr2")}
        assert task.weights(at) == {
            name: weight * (share if name in ramped else 1.0) for name, weight in full.items()
        }
    assert min(full["er"], full["ecr1"], full["ecr2"], full["cls1"]) > 0


def test_weights_depend_only_on_the_seed(data: PreparedData, tmp_path: Path) -> None:
    first = weights(trained(data, tmp_path / "first"))
    # The caller's settings of torch are unchanged.
    assert not torch.are_deterministic_algorithms_enabled()
    random.seed(5)
    torch.manual_seed(5)
    assert same_bits(
        first,
        weights(
            train_cam(
                data,
                recipe(train_cam__picture_every=1).train_cam,
                tmp_path / "second",
                one_rank(workers=1),
            )
        ),
    )
    assert not same_bits(first, weights(trained(data, tmp_path / "third", train_cam__seed=1)))


@pytest.mark.parametrize(("precision", "threads"), [("32", 1), ("bf16", 2)])
@pytest.mark.usefixtures("one_thread")
def test_training_resumes_from_the_checkpoint(
    data: PreparedData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    threads: int,
) -> None:
    section = recipe(
        train_cam__epochs=4, train_cam__checkpoint_minutes=1e-6, train_cam__precision=precision
    ).train_cam

    def train(out: Path) -> CamModel:
        runtime = Runtime.start(device="cpu", workers=0, threads=threads)
        return train_cam(data, section, out, runtime)

    complete = train(tmp_path / "complete")
    seen: list[int] = []
    step = fit_module._Loop.step

    def stop_at(limit: int) -> None:
        def stepped(loop: Any, number: int, batches: Any) -> dict[str, float]:
            if number == limit:
                raise KeyboardInterrupt
            seen.append(number)
            return step(loop, number, batches)

        monkeypatch.setattr(fit_module._Loop, "step", stepped)

    for limit in (3, 6):
        stop_at(limit)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "broken")
    stop_at(-1)
    broken = train(tmp_path / "broken")
    assert seen == list(range(8))
    assert same_bits(weights(complete), weights(broken))
    assert losses(complete.path) == losses(broken.path)


def command_line(data: PreparedData, settings: Path, out: Path) -> list[str | Path]:
    return ["train-cam", "--data", data.path, "--recipe", settings, "--out", out]


def rows_reach(out: Path, count: int) -> Callable[[], bool]:
    return lambda: (out / "losses.csv").is_file() and len(rows(out)) >= count


@pytest.mark.slow
def test_weights_are_the_same_after_kills(data: PreparedData, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "train_cam__epochs": 60,
        "train_cam__checkpoint_minutes": 1e-4,
        "runtime__workers": 1,
    }
    settings = write_recipe(tmp_path / "recipe.yaml", **changes)
    complete = trained(data, tmp_path / "complete", **changes)
    out = tmp_path / "killed"
    line = command_line(data, settings, out)
    for count in (MOMENT.randint(1, 25), MOMENT.randint(35, 60)):
        kill_when(start(*line), rows_reach(out, count))
        assert not (out / "manifest.json").exists()
    end_of(start(*line))
    assert same_bits(weights(complete), weights(out))
    assert losses(complete.path) == losses(out)


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_is_resumed(data: PreparedData, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "train_cam__epochs": 40,
        "train_cam__checkpoint_minutes": 1e-4,
        "runtime__workers": 1,
    }
    settings = write_recipe(tmp_path / "recipe.yaml", **changes)
    out = tmp_path / "model"
    interrupt_when(start(*command_line(data, settings, out)), rows_reach(out, 3))
    assert (out / "checkpoint.pt").is_file()
    assert same_bits(
        weights(train_cam(data, recipe(**changes).train_cam, out, one_rank())),
        weights(trained(data, tmp_path / "complete", **changes)),
    )


def test_training_cannot_reach_a_mask(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", masks=True)
    with_masks = prepared(photos, tmp_path / "with")
    assert with_masks.manifest.counts["masks"] == 12
    seen = weights(trained(with_masks, tmp_path / "seen"))
    for mask in (photos / "masks").rglob("*.png"):
        mask.unlink()  # training uses the old index, which lists them
    assert same_bits(seen, weights(trained(with_masks, tmp_path / "files-gone")))
    write_table(photos, [row[:3] for row in read_table(photos)])
    without = prepared(photos, tmp_path / "without")
    assert without.manifest.counts["masks"] == 0
    assert same_bits(seen, weights(trained(without, tmp_path / "column-gone")))


def spoil(data: PreparedData, *names: str) -> None:
    for name in names:
        cut_off(data.path.parent / "photos" / f"{name}.png")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_photo_is_reported(data: PreparedData, tmp_path: Path, workers: int) -> None:
    spoil(data, "b/05")
    with pytest.raises(DataError, match=r"photo can't be read.*05\.png.*--skip-bad") as caught:
        train_cam(
            data, recipe(train_cam__epochs=4).train_cam, tmp_path / "model", one_rank(workers)
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model" / "manifest.json").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_photo_can_be_skipped(
    data: PreparedData, tmp_path: Path, workers: int
) -> None:
    spoil(data, "b/05", "a/00")
    changes: dict[str, Any] = {"train_cam__epochs": 4, "train_cam__picture_every": 1}
    with pytest.raises(DataError):
        trained(data, tmp_path / "model", **changes)
    section = recipe(train_cam__skip_bad=True, **changes).train_cam
    model = train_cam(data, section, tmp_path / "model", one_rank(workers))
    skipped = model.manifest.skipped
    assert [line.split(": ")[0] for line in skipped] == ["a/00", "b/05"]
    assert all("can't be read" in line for line in skipped)
    assert model.manifest.counts["photos"] == 7
    again = train_cam(data, section, tmp_path / "again", one_rank())
    assert same_bits(weights(model), weights(again))


def test_objects_are_gathered_only_for_batches_with_unreadable_photos(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered: list[Any] = []
    monkeypatch.setattr(
        Runtime, "all_gather_object", lambda _, value: (gathered.append(value), [value])[1]
    )
    trained(data, tmp_path / "complete", train_cam__epochs=4)
    in_the_end = len(gathered)
    spoil(data, "b/05")
    model = trained(
        data,
        tmp_path / "spoilt",
        train_cam__epochs=4,
        train_cam__skip_bad=True,
        train_cam__batch_size=9,
    )
    assert len(gathered) == 2 * in_the_end + model.manifest.metrics["steps"]


def test_photos_skipped_before_an_interruption_are_still_listed(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = data.path.parent / "photos" / "b" / "05.png"
    complete = photo.read_bytes()
    spoil(data, "b/05")
    changes: dict[str, Any] = {
        "train_cam__epochs": 2,
        "train_cam__checkpoint_minutes": 1e-6,
        "train_cam__skip_bad": True,
        "train_cam__batch_size": 9,
    }
    step = fit_module._Loop.step

    def stepped(loop: Any, number: int, batches: Any) -> dict[str, float]:
        if number == 1:
            raise KeyboardInterrupt
        return step(loop, number, batches)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fit_module._Loop, "step", stepped)
        trained(data, tmp_path / "model", **changes)
    photo.write_bytes(complete)
    model = trained(data, tmp_path / "model", **changes)
    assert [line.split(": ")[0] for line in model.manifest.skipped] == ["b/05"]


def test_a_batch_without_any_readable_photo_stops(data: PreparedData, tmp_path: Path) -> None:
    spoil(data, *(row[0].removesuffix(".png") for row in read_table(tmp_path / "photos")))
    with pytest.raises(DataError, match=r"none of the 4 photos.*can be read.*batch_size"):
        trained(data, tmp_path / "model", train_cam__skip_bad=True)


def test_data_without_any_tag(data: PreparedData, tmp_path: Path) -> None:
    lines = (data.path / "train.jsonl").read_text().splitlines()
    (data.path / "train.jsonl").write_text(
        "".join(json.dumps(json.loads(line) | {"tags": []}) + "\n" for line in lines)
    )
    with pytest.raises(DataError, match="no training photo has a tag"):
        trained(data, tmp_path / "model")


def test_a_truncated_checkpoint_is_reported_and_can_be_deleted(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"train_cam__epochs": 2, "train_cam__checkpoint_minutes": 1e-6}
    complete = weights(trained(data, tmp_path / "complete", **changes))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("tag2mask.steps.train_cam.save_seam", _interrupt)
        trained(data, tmp_path / "model", **changes)
    checkpoint = tmp_path / "model" / "checkpoint.pt"
    content = checkpoint.read_bytes()
    for length in (0, len(content) // 2, len(content) - 1):
        checkpoint.write_bytes(content[:length])
        with pytest.raises(WeightsError, match=r"checkpoint can't be read.*checkpoint\.pt.*Delete"):
            trained(data, tmp_path / "model", **changes)
        assert checkpoint.stat().st_size == length
    checkpoint.unlink()
    assert same_bits(complete, weights(trained(data, tmp_path / "model", **changes)))


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_checkpoint_of_another_network_is_reported(data: PreparedData, tmp_path: Path) -> None:
    other = tmp_path / "model"
    other.mkdir()
    fit_module.save_checkpoint(other / "checkpoint.pt", {"model": {"head.weight": torch.zeros(3)}})
    with pytest.raises(RunFolderError, match="holds other files"):
        trained(data, other)
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tag2mask.steps.train_cam.fit", _interrupt_fit)
        trained(data, tmp_path / "begun")
    (other / "checkpoint.pt").rename(tmp_path / "begun" / "checkpoint.pt")
    with pytest.raises(WeightsError, match=r"checkpoint holds weights of another network.*head"):
        trained(data, tmp_path / "begun")


def _interrupt_fit(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("limits", [(1, 3), (2, 4)])
def test_a_warm_start_trains_a_plain_cam_and_then_seam(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]
) -> None:
    changes: dict[str, Any] = {"train_cam__epochs": 2, "train_cam__checkpoint_minutes": 1e-6}
    plain = trained(
        data,
        tmp_path / "plain",
        **changes | {"train_cam__epochs": 1},
        train_cam__pcm__enabled=False,
        train_cam__views__enabled=False,
    )
    by_hand = trained(
        data,
        tmp_path / "seam",
        **changes,
        train_cam__init_from=str(plain.path / "model.safetensors"),
    )
    warm = changes | {"train_cam__warm_start": 1}
    complete = trained(data, tmp_path / "complete", **warm)
    assert same_bits(weights(plain), weights(complete.path / "warm-start"))
    assert same_bits(weights(by_hand), weights(complete))
    assert losses(by_hand.path) == losses(complete.path)
    assert {path.name for path in (complete.path / "warm-start").iterdir()} == {
        "model.safetensors",
        "losses.csv",
        "tensorboard",
        "manifest.json",
        ".lock",
    }
    steps: list[int] = []
    stops = set(limits)
    step = fit_module._Loop.step

    def stepped(loop: Any, number: int, batches: Any) -> dict[str, float]:
        if len(steps) in stops:
            stops.remove(len(steps))
            raise KeyboardInterrupt
        steps.append(number)
        return step(loop, number, batches)

    monkeypatch.setattr(fit_module._Loop, "step", stepped)
    for _ in limits:
        with pytest.raises(KeyboardInterrupt):
            trained(data, tmp_path / "broken", **warm)
    broken = trained(data, tmp_path / "broken", **warm)
    assert steps == [0, 1, 0, 1, 2, 3], "none twice"
    assert same_bits(weights(complete), weights(broken))


def test_a_plain_cam_trained_by_another_process_is_awaited(
    data: PreparedData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("fcntl")
    monkeypatch.setattr("tag2mask.steps.train_cam.WAIT_SECONDS", 0.1)
    monkeypatch.setattr("tag2mask.runtime.progress.PLAIN_SECONDS", 0.0)
    plain = tmp_path / "start"
    plain.mkdir()
    hold = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w'); "
        "fcntl.lockf(file, fcntl.LOCK_EX); print(); time.sleep(1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(plain / ".lock")], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        section = recipe(train_cam__warm_start=1, train_cam__epochs=1).train_cam
        model = train_cam(data, section, tmp_path / "model", one_rank(), plain)
        assert other.wait() == 0
    assert "trained by another process: 0/1" in capsys.readouterr().err
    assert CamModel.open(plain) and not (model.path / "warm-start").exists()


@pytest.mark.parametrize("behavior", ["default", "published"])
def test_trainings_that_differ_only_in_seam_share_the_plain_cam(behavior: str) -> None:
    def begun(**weights: Any) -> TrainCam:
        section = TrainCam.model_validate(
            {"behavior": behavior, "warm_start": 2, "losses": weights}
        )
        return section.plain_start()

    assert begun() == begun(er=0.0, ecr=0.5, ecr_top=1.0, min_pool=0.0, ramp=0.0)
    assert begun() != begun(cls=0.5)
    # With the published behavior, maps are pooled on the grid of the losses.
    assert (begun() == begun(map_stride=1)) is (behavior == "default")
    assert begun().warm_start == 0 and begun().epochs == 2


def test_starting_from_a_trained_model(data: PreparedData, tmp_path: Path) -> None:
    plain = trained(
        data, tmp_path / "plain", train_cam__pcm__enabled=False, train_cam__views__enabled=False
    )
    file = str(plain.path / "model.safetensors")
    begun = trained(
        data,
        tmp_path / "seam",
        train_cam__init_from=file,
        train_cam__optimizer__lr=1e-12,
        train_cam__optimizer__weight_decay=0.0,
    )
    started = weights(plain)
    found = weights(begun)
    assert all(torch.allclose(found[name], tensor, atol=1e-6) for name, tensor in started.items())
    assert any(name.startswith("pcm.") for name in found)
    # And back: the weights of PCM are dropped.
    trained(
        data,
        tmp_path / "back",
        train_cam__pcm__enabled=False,
        train_cam__init_from=str(begun.path / "model.safetensors"),
    )
    with pytest.raises(
        WeightsError, match=r"another architecture: backbone 'test_eff.*'test_resne"
    ):
        trained(
            data,
            tmp_path / "resnet",
            train_cam__init_from=file,
            train_cam__backbone__name="test_resnet",
        )
    with pytest.raises(WeightsError, match=r"another architecture: head 'cam' instead of 'mdc'"):
        trained(data, tmp_path / "mdc", train_cam__init_from=file, train_cam__head="mdc")
    with pytest.raises(WeightsError, match="another architecture: truncated False instead of True"):
        trained(
            data, tmp_path / "cut", train_cam__init_from=file, train_cam__truncate_backbone=True
        )
    with pytest.raises(WeightsError, match="no such model file"):
        trained(data, tmp_path / "none", train_cam__init_from=str(tmp_path / "none.safetensors"))
    photos = write_photos(tmp_path / "others")
    write_table(
        photos, [[row[0], row[1].replace("dog", "hen"), row[2]] for row in read_table(photos)]
    )
    (photos / "classes.txt").write_text("cat\nhen\nbird\n")
    other = prepared(photos, tmp_path / "others-prepared")
    continued = trained(
        other,
        tmp_path / "other",
        train_cam__init_from=file,
        train_cam__optimizer__lr=1e-12,
        train_cam__optimizer__weight_decay=0.0,
    )
    head, old = weights(continued)["head.weight"], started["head.weight"]
    names = [read_classes(folder.path).names for folder in (data, other)]
    same = [[0, *(1 + own.index(name) for name in ("cat", "bird"))] for own in names]
    assert torch.allclose(head[same[1]], old[same[0]], atol=1e-6)
    hen, dog = 1 + names[1].index("hen"), 1 + names[0].index("dog")
    assert not torch.allclose(head[hen], old[dog], atol=1e-3)
    assert continued.manifest.metrics["warnings"] == [
        "train_cam.init_from: classes that it doesn't know start fresh: hen",
        "train_cam.init_from: classes that the data doesn't have are dropped: dog",
    ]
    assert "warnings" not in begun.manifest.metrics


def test_best_cells_learn_from_centered_features(data: PreparedData, tmp_path: Path) -> None:
    """The head's batch norm has no pretrained statistics to keep, the backbone's have."""
    plain = {"train_cam__pcm__enabled": False, "train_cam__views__enabled": False}
    mean = trained(data, tmp_path / "avg", **plain)
    assert not any(name.startswith("head_norm.") for name in weights(mean))
    best = trained(
        data,
        tmp_path / "top",
        **plain,
        train_cam__pooling="top",
        train_cam__init_from=str(mean.path / "model.safetensors"),
    )
    found, started = weights(best), weights(mean)
    for name in ("head_norm.running_mean", "head.bias"):
        assert found[name].any()
    assert found["head_norm.num_batches_tracked"] > 0
    kept = [name for name in started if name.endswith(("running_mean", "running_var"))]
    assert kept and all(torch.equal(found[name], started[name]) for name in kept)
    with pytest.raises(WeightsError, match="another architecture: centered True instead of False"):
        trained(
            data,
            tmp_path / "back",
            **plain,
            train_cam__init_from=str(best.path / "model.safetensors"),
        )


def test_other_weights_under_the_same_name_are_rejected(data: PreparedData, tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    first = trained(data, tmp_path / "first")
    file.write_bytes((first.path / "model.safetensors").read_bytes())
    begun = trained(data, tmp_path / "begun", train_cam__init_from=str(file))
    manifest = (begun.path / "manifest.json").read_bytes()
    # A deleted file can't be compared: the trained network stays usable.
    file.rename(tmp_path / "away")
    trained(data, begun.path, train_cam__init_from=str(file))
    assert (begun.path / "manifest.json").read_bytes() == manifest
    file.write_bytes((begun.path / "model.safetensors").read_bytes())
    with pytest.raises(RunFolderError, match="input init_from: "):
        trained(data, begun.path, train_cam__init_from=str(file))


def test_weights_of_another_network_name_the_tensors(data: PreparedData, tmp_path: Path) -> None:
    torch.save({"layer1.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth|another network") as caught:
        trained(data, tmp_path / "model", train_cam__backbone__weights=str(tmp_path / "other.pth"))
    assert "missing" in str(caught.value)


def test_a_full_disk_keeps_the_last_checkpoint(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"train_cam__epochs": 3, "train_cam__checkpoint_minutes": 1e-6}
    complete = weights(trained(data, tmp_path / "complete", **changes))
    save, saved = torch.save, []

    def full(state: Any, file: Any) -> None:
        if len(saved) == 3:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        saved.append(state["step"])
        save(state, file)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(RunFolderError, match=r"disk is full.*resumes"):
            trained(data, tmp_path / "model", **changes)
    assert not list((tmp_path / "model").glob(".tmp-*"))
    steps: list[int] = []
    step = fit_module._Loop.step
    monkeypatch.setattr(
        fit_module._Loop,
        "step",
        lambda loop, number, batches: (steps.append(number), step(loop, number, batches))[1],
    )
    assert same_bits(complete, weights(trained(data, tmp_path / "model", **changes)))
    assert steps == [3, 4, 5]


def test_running_out_of_gpu_memory_names_the_settings(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr(SeamObjective, "forward", forward)
    with pytest.raises(DeviceError, match=r"out of memory.*train_cam\.batch_size"):
        trained(data, tmp_path / "model")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    data: PreparedData, tmp_path: Path
) -> None:
    with pytest.raises(Tag2MaskError, match=r"loss became.*optimizer\.lr"):
        trained(data, tmp_path / "model", train_cam__optimizer__lr=1e30, train_cam__epochs=20)
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_a_folder_of_other_settings_is_rejected(data: PreparedData, tmp_path: Path) -> None:
    model = trained(data, tmp_path / "model")
    before = (model.path / "model.safetensors").read_bytes()
    with pytest.raises(RunFolderError, match=r"train_cam\.epochs: 1 -> 2"):
        trained(data, tmp_path / "model", train_cam__epochs=2)
    assert (model.path / "model.safetensors").read_bytes() == before


def test_the_command_skips_bad_photos_and_exits_with_3(data: PreparedData, tmp_path: Path) -> None:
    spoil(data, "b/05")
    settings = write_recipe(tmp_path / "recipe.yaml", train_cam__epochs=2)
    line = ["train-cam", "--data", data.path, "--recipe", settings, "--out", tmp_path / "model"]
    stopped = invoke(*line)
    assert stopped.exit_code == 1
    assert "05.png" in stopped.stderr
    assert stopped.stderr.count("\n") == 1
    done = invoke(*line, "--skip-bad")
    assert done.exit_code == 3, done.stderr
    assert "left out: b/05: photo can't be read" in done.stderr
    assert "8 photos" in done.stdout
    assert invoke(*line).exit_code == 3  # complete, but still reported
