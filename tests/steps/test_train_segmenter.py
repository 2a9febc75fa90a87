"""Step train-segmenter: which masks are read, validation, and the same weights after kills."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from segmenter_scenes import mask_drawer, paint_halves

from small_runs import (
    MOMENT,
    call,
    cut_off,
    end_of,
    invoke,
    kill_when,
    one_rank,
    prepared,
    recipe,
    start,
    trained,
    write_photos,
    write_recipe,
)
from tag2mask.artifacts.handles import PreparedData, PseudoMaskFolder, SegmenterModel
from tag2mask.data.index import read_index
from tag2mask.errors import DataError, DeviceError, RecipeError, RunFolderError, WeightsError
from tag2mask.files.json_file import read_json, write_json
from tag2mask.metrics.confusion import Confusion
from tag2mask.segmentation.labels import validation_photos
from tag2mask.segmentation.losses import SegmenterObjective
from tag2mask.segmentation.networks import load_segmenter, save_segmenter
from tag2mask.segmentation.torch_segmenter import TorchSegmenter
from tag2mask.steps.train_segmenter import import_model, train_segmenter
from tag2mask.steps.trainers.segmenter_validation import compare_with_masks, single_view
from tag2mask.training import loop as fit_module


@pytest.fixture
def masks(data: PreparedData, tmp_path: Path) -> PseudoMaskFolder:
    return mask_drawer(data, tmp_path / "pseudo-masks")


@pytest.fixture
def masked(tmp_path: Path) -> PreparedData:
    """The small photos with ground truth."""
    return prepared(write_photos(tmp_path / "masked", masks=True), tmp_path / "masked-prepare")


LEARNING: dict[str, Any] = {
    "epochs": 5,
    "freeze_batch_norm": False,
    "optimizer": {"lr": 0.003, "new_layer_lr": 1.0},
}
"""Enough training to learn painted photos."""


def train(
    data: PreparedData,
    masks: PseudoMaskFolder | None,
    out: Path,
    /,
    workers: int = 0,
    **changes: Any,
) -> SegmenterModel:
    changed = {f"train_segmenter__{key}": value for key, value in changes.items()}
    return train_segmenter(data, masks, recipe(**changed).train_segmenter, out, one_rank(workers))


def weights(file: Path) -> dict[str, torch.Tensor]:
    return load_file(file)


def same_bits(left: Path, right: Path, name: str = "model.safetensors") -> bool:
    one, other = load_file(left / name), load_file(right / name)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def rows(folder: Path, name: str = "losses.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k != "photos_per_second"}
            for row in csv.DictReader(file)
        ]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_training_writes_a_model_that_loads(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    model = train(data, masks, tmp_path / "model")
    assert files(model.path) == {"manifest.json", "model.safetensors", "losses.csv", "tensorboard"}
    assert {"cross_entropy", "loss", "lr"} <= rows(model.path)[0].keys()
    manifest = model.manifest
    assert manifest.counts == {"photos": 9, "without_masks": 0}
    assert manifest.metrics["masks"] == "pseudo" and manifest.metrics["steps"] == 2
    net, spec = load_segmenter(model.path / "model.safetensors")
    assert (spec.architecture, spec.encoder, spec.long_side) == (
        "deeplabv3plus",
        "test_efficientnet",
        64,
    )
    with torch.no_grad():
        assert torch.isfinite(net(torch.zeros(1, 3, 64, 64))).all()
    before = (model.path / "model.safetensors").stat().st_mtime_ns
    train(data, masks, tmp_path / "model", log_every=5)
    assert (model.path / "model.safetensors").stat().st_mtime_ns == before


def test_the_network_learns_the_masks(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    paint_halves(data)
    changes: dict[str, Any] = {
        "epochs": 15,
        "color_jitter": [0, 0, 0, 0],
        "freeze_batch_norm": False,
        "optimizer": {"lr": 0.003, "new_layer_lr": 1.0, "ema": 0.5},
    }
    model = train(data, masks, tmp_path / "model", **changes)
    losses = [float(row["loss"]) for row in rows(model.path)]
    assert "cross_entropy" in rows(model.path)[0]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_absent_classes_are_a_loss(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path, weight: float
) -> None:
    for row in rows(train(data, masks, tmp_path / "model", absent_weight=weight).path):
        assert ("absent" in row) == (weight > 0)
        absent = weight * float(row.get("absent", 0))
        assert float(row["loss"]) == pytest.approx(float(row["cross_entropy"]) + absent, rel=1e-3)
        assert absent > 0 or not weight


def test_training_resumes_from_the_checkpoint(
    data: PreparedData, masked: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With validation, stopped three times, and with other workers."""
    masks = mask_drawer(masked, tmp_path / "masks")
    changes: dict[str, Any] = {
        "epochs": 3,
        "checkpoint_minutes": 1e-6,
        "validate_epochs": 1,
        "optimizer": {"lr": 0.001, "ema": 0.5},
    }
    complete = train(masked, masks, tmp_path / "complete", **changes)
    step = fit_module._Loop.step
    calls = 0
    stops = {2, 4, 7}

    def stepped(loop: Any, number: int, batches: Any) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls in stops:
            raise KeyboardInterrupt
        return step(loop, number, batches)

    monkeypatch.setattr(fit_module._Loop, "step", stepped)
    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            train(masked, masks, tmp_path / "broken", **changes)
    broken = train(masked, masks, tmp_path / "broken", workers=1, **changes)
    assert same_bits(complete.path, broken.path)
    assert same_bits(complete.path, broken.path, "last.safetensors")
    assert rows(complete.path) == rows(broken.path)
    assert rows(complete.path, "validation.csv") == rows(broken.path, "validation.csv")
    assert not (broken.path / "checkpoint.pt").exists()


@pytest.mark.slow
def test_weights_are_the_same_after_kills(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    paint_halves(data)
    changes = LEARNING | {"epochs": 12, "checkpoint_minutes": 1e-4}
    complete = train(data, masks, tmp_path / "complete", **changes)
    settings = write_recipe(
        tmp_path / "recipe.yaml",
        **{f"train_segmenter__{key}": value for key, value in changes.items()},
    )
    out = tmp_path / "killed"
    line = [
        "train-segmenter",
        "--data",
        data.path,
        "--masks",
        masks.path,
        "--recipe",
        settings,
        "--out",
        out,
    ]

    def trained(least: int) -> Callable[[], bool]:
        steps = MOMENT.randint(least, least + 7)
        return lambda: (out / "losses.csv").is_file() and len(rows(out)) >= steps

    for moment in (trained(1), trained(10)):
        kill_when(start(*line), moment)
        assert not (out / "manifest.json").exists()
    end_of(start(*line))
    assert same_bits(complete.path, out)
    assert rows(complete.path) == rows(out)


@pytest.mark.slow
def test_two_processes_train_one_network(masked: PreparedData, tmp_path: Path) -> None:
    """Ranks share training and validation; batch norms are synchronized."""
    paint_halves(masked)
    masks = mask_drawer(masked, tmp_path / "masks")
    changes = LEARNING | {"validate_epochs": 8, "batch_size": 5, "epochs": 16}
    cut_off(masked.path.parent / "masked" / "b" / "01.png")
    settings = write_recipe(
        tmp_path / "recipe.yaml",
        runtime__devices=2,
        **{f"train_segmenter__{key}": value for key, value in changes.items()},
    )
    out = tmp_path / "model"
    line = [
        "train-segmenter",
        "--data",
        masked.path,
        "--masks",
        masks.path,
        "--recipe",
        settings,
        "--out",
        out,
    ]
    stopped = call(*line)
    assert stopped.returncode == 1 and "Traceback" not in stopped.stderr, stopped.stderr
    assert "01.png" in stopped.stderr and "--skip-bad" in stopped.stderr
    result = call(*line, "--skip-bad")
    assert result.returncode == 3, result.stderr
    model = SegmenterModel.open(out)
    assert [line.split(":")[0] for line in model.manifest.skipped] == ["b/01"]
    assert model.manifest.counts == {"photos": 8, "without_masks": 0}
    # The score of two processes equals that of one process on the written network.
    section = recipe(**{f"train_segmenter__{k}": v for k, v in changes.items()}).train_segmenter
    samples, truths = validation_photos(masked.path)
    net, spec = load_segmenter(out / "last.safetensors")
    found = compare_with_masks(
        samples,
        truths,
        single_view(net, spec, section, one_rank()),
        3,
        on_unreadable=lambda *_: None,
    )
    last = float(rows(out, "validation.csv")[-1]["miou"])
    assert found.miou() == pytest.approx(last, abs=1e-3)


def test_training_on_pseudo_masks_is_the_same_without_ground_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ground truth is not read: its files are deleted."""
    folders = {}
    for name, with_masks in (("plain", False), ("masked", True)):
        photos = write_photos(tmp_path / name / "photos", masks=with_masks)
        data = prepared(photos, tmp_path / name / "prepare")
        if with_masks:
            shutil.rmtree(photos / "masks")
            monkeypatch.setattr("tag2mask.segmentation.labels.read_mask_paths", None)
        masks = mask_drawer(data, tmp_path / name / "masks")
        folders[name] = train(data, masks, tmp_path / name / "model").path
    assert same_bits(folders["plain"], folders["masked"])


def test_training_on_ground_truth_is_recorded(masked: PreparedData, tmp_path: Path) -> None:
    table = masked.path.parent / "masked" / "tags.csv"
    lines = table.read_text().splitlines()
    lines = [line.rsplit(",", 1)[0] + "," if line.startswith("a/00") else line for line in lines]
    table.write_text("\n".join(lines) + "\n")
    (table.parent / "masks" / "a" / "00.png").unlink()
    data = prepared(masked.path.parent / "masked", tmp_path / "prepare")
    model = train(data, None, tmp_path / "model", masks="ground truth")
    assert model.manifest.metrics["masks"] == "ground truth"
    assert model.manifest.counts == {"photos": 8, "without_masks": 1}
    assert model.manifest.metrics["without_masks"] == ["a/00"]
    assert set(model.manifest.inputs) == {"data", "ground truth"}
    pseudo = mask_drawer(data, tmp_path / "pseudo")
    train(data, pseudo, tmp_path / "model", masks="ground truth")
    with pytest.raises(RunFolderError, match=r"masks: .ground truth. -> .pseudo."):
        train(data, pseudo, tmp_path / "model")
    with pytest.raises(RunFolderError, match="input ground truth"):
        train(masked, None, tmp_path / "model", masks="ground truth")


def test_missing_ground_truth(data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no training photo has a mask.*masks=pseudo"):
        train(data, masks, tmp_path / "model", masks="ground truth")
    with pytest.raises(DataError, match=r"no validation photo has a mask.*validate_epochs=0"):
        train(data, masks, tmp_path / "other", validate_epochs=1)


def test_the_best_network_on_the_validation_photos_becomes_the_model(
    masked: PreparedData, tmp_path: Path
) -> None:
    paint_halves(masked)
    masks = mask_drawer(masked, tmp_path / "masks")
    model = train(masked, masks, tmp_path / "model", epochs=5, validate_epochs=2)
    found = rows(model.path, "validation.csv")
    assert [row["step"] for row in found] == ["4", "8", "10"], "and after the last step"
    assert list(found[0]) == ["step", "miou", "background", "cat", "dog", "bird"]
    scores = [float(row["miou"]) for row in found]
    assert all(0 <= score <= 1 for score in scores)
    assert model.manifest.metrics["validation_miou"] == max(scores)
    best = scores.index(max(scores)) == len(scores) - 1
    last, kept = (
        load_file(model.path / name) for name in ("last.safetensors", "model.safetensors")
    )
    assert all(torch.equal(last[k], kept[k]) for k in last) == best


def test_a_worse_network_does_not_replace_the_model(
    masked: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moving average is scored and kept."""
    seen = []
    images = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)

    def score(samples: Any, masks: Any, segmentation: Any, classes: int, **_: Any) -> Confusion:
        seen.append(segmentation.segmenter.probabilities(images))
        counts = np.diag([10] + [0] * classes)
        counts[0, 1] = (6, 1, 3)[len(seen) - 1]
        return Confusion(counts)

    monkeypatch.setattr("tag2mask.steps.trainers.segmenter_validation.compare_with_masks", score)
    masks = mask_drawer(masked, tmp_path / "masks")
    model = train(
        masked,
        masks,
        tmp_path / "model",
        epochs=3,
        validate_epochs=1,
        optimizer={"lr": 0.001, "ema": 0.5},
        precision="32",
    )
    for name, wanted, other in (("model.safetensors", 1, 2), ("last.safetensors", 2, 1)):
        net, spec = load_segmenter(model.path / name)
        kept = TorchSegmenter(net, spec.class_set, spec.long_side, torch.device("cpu"), "32")
        np.testing.assert_array_equal(kept.probabilities(images), seen[wanted], err_msg=name)
        assert not np.array_equal(seen[wanted], seen[other])


@pytest.mark.parametrize("value", [0, 255])
def test_masks_without_foreground_are_an_error(
    data: PreparedData, tmp_path: Path, value: int
) -> None:
    masks = mask_drawer(data, tmp_path / "masks", empty=True)
    for path in (masks.path / "masks").rglob("*.png"):
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), value)).save(path)
    with pytest.raises(
        DataError, match=r"no training mask shows a single pixel of any class.*threshold"
    ):
        train(data, masks, tmp_path / "model")


def test_masks_must_belong_to_the_photos(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    path = masks.path / "masks" / "a" / "00.png"
    complete = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match="'a/00' has no pseudo mask"):
        train(data, masks, tmp_path / "missing")
    Image.new("L", (5, 4)).save(path)
    with pytest.raises(DataError, match=r"mask is 5 x 4 px, but its photo 'a/00'"):
        train(data, masks, tmp_path / "size")
    Image.new("L", Image.open(data.path.parent / "photos" / "a" / "00.png").size, 7).save(path)
    with pytest.raises(DataError, match=r"mask has the values 7; 3 classes"):
        train(data, masks, tmp_path / "classes")
    path.write_bytes(complete)
    assert train(data, masks, tmp_path / "size").manifest.counts["photos"] == 9


@pytest.mark.parametrize(
    "names",
    [["bird", "dog", "cat"], ["car", "sofa", "tree"], ["cat", "dog", "bird", "cow"]],
    ids=" ".join,
)
def test_masks_of_other_classes_are_rejected(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path, names: list[str]
) -> None:
    path = masks.path / "manifest.json"
    write_json(path, read_json(path) | {"metrics": {"classes": names}})
    with pytest.raises(DataError, match=rf"masks are of the classes {', '.join(names)}, the data "):
        train(data, PseudoMaskFolder.open(masks.path), tmp_path / "model")


def test_photos_without_masks_are_omitted(data: PreparedData, tmp_path: Path) -> None:
    masks = mask_drawer(data, tmp_path / "masks", without=("a/00", "b/03"))
    model = train(data, masks, tmp_path / "model")
    assert model.manifest.counts == {"photos": 8, "without_masks": 1}
    assert model.manifest.metrics["without_masks"] == ["a/00"], "b/03 is for validation"
    everyone = tuple(sample.id for sample in read_index(data.path, "train"))
    none = mask_drawer(data, tmp_path / "none", without=everyone)
    with pytest.raises(DataError, match="no training photo has a pseudo mask"):
        train(data, none, tmp_path / "other")


def test_photos_whose_masks_show_none_of_their_tags_are_left_out(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    empty = ("a/00", "b/01")
    for photo in empty:
        path = masks.path / "masks" / f"{photo}.png"
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    model = train(data, masks, tmp_path / "model")
    assert model.manifest.counts == {"photos": 7, "without_masks": 0, "without_tagged_pixels": 2}
    assert model.manifest.metrics["without_tagged_pixels"] == list(empty)
    fewer = mask_drawer(data, tmp_path / "fewer", without=empty)
    assert same_bits(model.path, train(data, fewer, tmp_path / "without").path)
    used = train(data, masks, tmp_path / "used", use_empty_masks=True)
    assert used.manifest.counts == {"photos": 9, "without_masks": 0}
    assert not same_bits(model.path, used.path)


def test_unreadable_masks_are_skipped_not_left_out_as_empty(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    cut_off(masks.path / "masks" / "a" / "00.png")
    with pytest.raises(DataError, match=r"mask can't be read.*00\.png"):
        train(data, masks, tmp_path / "stops")
    model = train(data, masks, tmp_path / "goes-on", skip_bad=True, epochs=4)
    assert [line.split(":")[0] for line in model.manifest.skipped] == ["a/00"]
    assert model.manifest.counts == {"photos": 8, "without_masks": 0}


def test_an_unreadable_photo_stops_or_is_skipped(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    paint_halves(data)
    cut_off(data.path.parent / "photos" / "a" / "00.png")
    with pytest.raises(DataError, match=r"photo can't be read.*00\.png"):
        train(data, masks, tmp_path / "stops", epochs=4)
    model = train(data, masks, tmp_path / "goes-on", skip_bad=True, **LEARNING)
    assert [line.split(":")[0] for line in model.manifest.skipped] == ["a/00"]
    assert model.manifest.counts["photos"] == 8


def test_a_batch_of_one_photo_trains(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    """After global pooling, a batch norm of DeepLab gets one value per photo."""
    model = train(data, masks, tmp_path / "model", batch_size=1, max_steps=2)
    assert all(
        torch.isfinite(tensor).all()
        for tensor in weights(model.path / "model.safetensors").values()
    )


def test_only_the_encoders_batch_norms_are_frozen(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    def learnt(**changes: Any) -> set[str]:
        folder = tmp_path / f"model{len(list(tmp_path.glob('model*')))}"
        first, later = (
            weights(
                train(
                    data,
                    masks,
                    folder / str(steps),
                    max_steps=steps,
                    epochs=9,
                    optimizer={"lr": 0.001, "schedule": "constant"},
                    **changes,
                ).path
                / "model.safetensors"
            )
            for steps in (1, 3)
        )
        return {
            name
            for name, tensor in first.items()
            if name.endswith("running_mean") and not torch.equal(tensor, later[name])
        }

    assert {name.split(".")[1] for name in learnt()} == {"decoder"}
    assert {name.split(".")[1] for name in learnt(freeze_batch_norm=False)} == {
        "encoder",
        "decoder",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": 60}, r"multiples of 16 px.*not 60 \[train_segmenter\.crop\]\. Set it to 64"),
        (
            {"crop": 32, "network__architecture": "unet", "network__output_stride": 32},
            r"of 64 at least, not 32.*Set it to 64",
        ),
        ({"network__architecture": "unett"}, "did you mean 'unet'"),
        ({"freeze_stride": 4}, r"keep random weights.*freeze_stride\]\. Set it to 1"),
        ({"network__encoder": "no_such_net"}, "no encoder"),
        (
            {"behavior": "published", "freeze_batch_norm": False, "absent_weight": 0.0},
            r"training of deeplabv1, not of deeplabv3plus \[train_segmen",
        ),
    ],
)
def test_unsupported_networks_and_crops(
    data: PreparedData,
    masks: PseudoMaskFolder,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(data, masks, tmp_path / "model", **changes)


def test_other_masks_and_settings_are_rejected(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    train(data, masks, tmp_path / "model")
    with pytest.raises(RunFolderError, match=r"train_segmenter\.crop: 64 -> 32"):
        train(data, masks, tmp_path / "model", crop=32)
    other = mask_drawer(data, tmp_path / "other", without=("a/00",))
    with pytest.raises(RunFolderError, match=r"input masks"):
        train(data, other, tmp_path / "model")


def test_the_model_stores_the_median_if_photos_keep_their_size(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    model = train(data, masks, tmp_path / "model", long_side=None, max_steps=1)
    sides = [max(sample.size) for sample in read_index(data.path, "train")]
    assert load_segmenter(model.path / "model.safetensors")[1].long_side == int(np.median(sides))


def test_running_out_of_gpu_memory_names_the_settings(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    complete = train(data, masks, tmp_path / "complete")
    with monkeypatch.context() as patched:
        patched.setattr(SegmenterObjective, "forward", forward)
        with pytest.raises(DeviceError, match=r"out of memory.*train_segmenter\.batch_size"):
            train(data, masks, tmp_path / "model")
    assert same_bits(train(data, masks, tmp_path / "model").path, complete.path)


def test_training_starts_from_a_trained_network_with_other_classes(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    old, spec = load_segmenter(train(data, masks, tmp_path / "old").file)
    known = ("cow", *spec.classes[1:])  # in place of the first class
    started = tmp_path / "known.safetensors"
    save_segmenter(started, old, replace(spec, classes=known))
    kept = {"lr": 1e-12, "weight_decay": 0.0}
    model = train(
        data,
        masks,
        tmp_path / "new",
        init_from=str(started),
        optimizer=kept,
    )
    before, after = old.state_dict(), weights(model.file)
    names = {name for name, tensor in before.items() if "running" not in name and tensor.ndim}
    heads = {name for name in names if ".segmentation_head." in name}
    assert heads and all(
        torch.allclose(after[name], before[name], atol=1e-5) for name in names - heads
    )
    for name in heads:
        assert torch.allclose(after[name][[0, 2, 3]], before[name][[0, 2, 3]], atol=1e-5)
    assert any(not torch.allclose(after[n][1], before[n][1], atol=1e-3) for n in heads)
    assert model.manifest.metrics["warnings"] == [
        f"train_segmenter.init_from: classes that it doesn't know start fresh: {spec.classes[0]}",
        "train_segmenter.init_from: classes that the data doesn't have are dropped: cow",
    ]
    with pytest.raises(WeightsError, match="another architecture: architecture 'deeplabv3plus'"):
        train(
            data,
            masks,
            tmp_path / "unet",
            init_from=str(started),
            network__architecture="unet",
            network__output_stride=32,
        )
    with pytest.raises(WeightsError, match="another architecture: decoder_channels None instead"):
        train(
            data,
            masks,
            tmp_path / "light",
            init_from=str(started),
            network__decoder_channels=16,
        )


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_an_exported_network_is_not_imported(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    result = invoke("train-segmenter", "--import", tmp_path / name, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "exported" in result.stderr and "it was exported from" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_trained_model_can_be_imported(
    data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path
) -> None:
    made = train(data, masks, tmp_path / "made", max_steps=1)
    taken = import_model(made.path / "model.safetensors", tmp_path / "taken")
    assert same_bits(made.path, taken.path)
    with pytest.raises(RunFolderError, match=r"it holds an imported network; input data"):
        train(data, masks, taken.path, max_steps=1)
    with pytest.raises(RunFolderError, match="it holds a network that was trained; input"):
        import_model(taken.path / "model.safetensors", made.path)
    cam = trained(data, tmp_path / "cam")
    with pytest.raises(WeightsError, match="this is a CAM model, not a segmentation network"):
        import_model(cam.path / "model.safetensors", tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_the_command(data: PreparedData, masks: PseudoMaskFolder, tmp_path: Path) -> None:
    settings = write_recipe(tmp_path / "recipe.yaml", train_segmenter__max_steps=1)
    line = [
        "train-segmenter",
        "--data",
        data.path,
        "--recipe",
        settings,
        "--out",
        tmp_path / "model",
    ]
    wrong = invoke(*line)
    assert wrong.exit_code == 2 and "--masks" in wrong.stderr
    result = invoke(*line, "--masks", masks.path)
    assert result.exit_code == 0, result.stderr
    model = tmp_path / "model" / "model.safetensors"
    result = invoke("train-segmenter", "--import", model, "--out", tmp_path / "taken")
    assert result.exit_code == 0, result.stderr
    assert same_bits(tmp_path / "model", tmp_path / "taken")
    result = invoke(*line, "--set", "train_segmenter.masks=ground truth", "--redo")
    assert result.exit_code == 1 and "no training photo has a mask" in result.stderr
