"""Step predict: masks of any photos and of a run, sizes, modes, resuming and errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import run_on_ranks

from local_segmenter import NAMES, LocalSegmenter, colorful
from onnx_file import SPEC as SPEC_OF_ONNX
from onnx_file import write_network
from small_runs import (
    cut_off,
    end_of,
    environment,
    interrupt_when,
    invoke,
    kill_when,
    one_rank,
    prepared,
    read_table,
    recipe,
    write_photos,
    write_table,
)
from small_runs import start as start_command
from tag2mask.artifacts.handles import Predictions, PreparedData, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.images import read_image
from tag2mask.data.index import read_index
from tag2mask.data.masks import read_mask
from tag2mask.data.photo_files import list_photos
from tag2mask.errors import DataError, RunFolderError
from tag2mask.recipe.sections import Predict
from tag2mask.segmentation.inference.export_spec import KEY
from tag2mask.segmentation.inference.labeling import PhotoLabeler
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter, save_segmenter
from tag2mask.steps.photo_loops import per_photo, predict_photos
from tag2mask.steps.predict import predict, predict_prepared, segmentation_settings

TESTS = Path(__file__).resolve().parents[1]
SIZES = ((64, 48), (48, 64), (60, 47), (1, 1), (200, 30), (64, 64), (333, 500), (3, 90))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of many sizes and all image modes."""
    root = tmp_path / "photos"
    (root / "modes").mkdir(parents=True)
    for index, size in enumerate(SIZES):
        Image.fromarray(colorful(*size, index)).save(root / f"{index}.png")
    photo = Image.fromarray(colorful(50, 70, 99))
    photo.convert("L").save(root / "modes" / "gray.jpg")
    photo.convert("CMYK").save(root / "modes" / "cmyk.jpg")
    photo.convert("RGBA").save(root / "modes" / "alpha.png")
    photo.convert("P").save(root / "modes" / "palette.gif")
    Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257).save(root / "modes" / "16.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(root / "modes" / "turned.jpg", exif=exif, quality=95)
    return root


def predicted(
    photos: Path, out: Path, segmenter: LocalSegmenter | None = None, **settings: Any
) -> Predictions:
    return predict(
        list_photos([photos], leave_out=out),
        segmenter or LocalSegmenter(),
        Predict(**settings),
        out,
        model="local",
    )


def files(made: Predictions | Path, folder: str = "masks") -> dict[str, Path]:
    root = (made if isinstance(made, Path) else made.path) / folder
    return {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in root.rglob("*.*")
        if not path.name.startswith(".tmp-")
    }


def contents(made: Predictions | Path, folder: str = "masks") -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in files(made, folder).items()}


def stamps(made: Predictions) -> dict[str, int]:
    return {name: path.stat().st_mtime_ns for name, path in files(made).items()}


def test_every_photo_gets_a_mask_of_its_upright_size(photos: Path, tmp_path: Path) -> None:
    made = predicted(photos, tmp_path / "out")
    segmenter = LocalSegmenter()
    segmentation = PhotoLabeler(segmenter, segmentation_settings(Predict(), segmenter))
    listed = list_photos([photos])
    assert set(files(made)) == {photo.id for photo in listed}
    assert made.manifest.counts == {"photos": len(listed), "computed": len(listed)}
    assert made.manifest.metrics == {"classes": list(NAMES), "long_side": 64}
    for photo in listed:
        image = read_image(photo.path)
        labels = read_mask(files(made)[photo.id], len(NAMES))
        assert labels.shape == photo.current_size() == (image.height, image.width)
        np.testing.assert_array_equal(labels, segmentation(image).labels)
    with Image.open(files(made)["modes/turned"]) as mask:
        assert mask.mode == "P" and mask.size == (50, 70)
        assert tuple(mask.getpalette()[3:6]) == ClassSet(NAMES).colors[1]  # type: ignore[index]


def test_all_optional_outputs(photos: Path, tmp_path: Path) -> None:
    made = predicted(photos, tmp_path / "out", overlays=True, confidence=True, probabilities=True)
    everything = set(files(made))
    for folder in ("overlays", "confidence", "probabilities"):
        assert set(files(made, folder)) == everything, folder
    labels = read_mask(files(made)["6"], 3)
    with Image.open(files(made, "overlays")["6"]) as overlay:
        assert (overlay.format, overlay.size) == ("JPEG", (500, 333))
    with np.load(files(made, "probabilities")["6"]) as file:
        assert file["id"] == "6" and file["size"].tolist() == [333, 500]
        assert file["classes"].tolist() == ["background", *NAMES]
        probabilities = file["probabilities"]
    assert probabilities.dtype == np.float16 and probabilities.shape == (4, 43, 64)
    np.testing.assert_allclose(probabilities.astype(float).sum(axis=0), 1, atol=4e-3)
    with Image.open(files(made, "confidence")["6"]) as image:
        sure = np.asarray(image)
    assert sure.shape == labels.shape
    assert abs(sure.max() / 255 - probabilities.max()) < 0.01
    shown = predicted(photos, tmp_path / "plain")
    assert contents(shown) == contents(made)
    assert not files(shown, "overlays")


def test_published_predictions_are_those_of_the_published_labeler(
    photos: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"scales": (0.5, 1.0), "probabilities": True, "long_side": "photo"}
    made = predicted(photos, tmp_path / "published", behavior="published", **given)
    default = predicted(photos, tmp_path / "default", **given)
    segmenter = LocalSegmenter()
    settings = segmentation_settings(Predict(behavior="published", **given), segmenter)
    (photo,) = (photo for photo in list_photos([photos]) if photo.id == "6")
    expected = PhotoLabeler(segmenter, settings)(read_image(photo.path))
    one, other = (
        np.load(files(step, "probabilities")["6"])["probabilities"] for step in (made, default)
    )
    np.testing.assert_array_equal(one, expected.probabilities)
    assert not np.array_equal(one, other)


def test_overlays_of_large_photos_are_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_photos, "OVERLAY_SIDE", 40)
    (tmp_path / "photos").mkdir()
    Image.fromarray(colorful(100, 200)).save(tmp_path / "photos" / "1.jpg")
    made = predicted(tmp_path / "photos", tmp_path / "out", overlays=True)
    with Image.open(files(made, "overlays")["1"]) as overlay:
        assert overlay.size == (40, 20)


def test_which_photos_share_a_batch_does_not_matter(photos: Path, tmp_path: Path) -> None:
    single = predicted(photos, tmp_path / "single")
    for batch_size in (3, 50):
        segmenter = LocalSegmenter(batched=True, caller_threads=3)
        made = predicted(photos, tmp_path / str(batch_size), segmenter, batch_size=batch_size)
        assert contents(made) == contents(single)
        # After padding, two of the sizes and all modes except the rotated one are equal.
        assert max(shape[0] for shape in segmenter.shapes) == min(batch_size, 7)


def test_large_photos_are_labeled_in_tiles(photos: Path, tmp_path: Path) -> None:
    segmenter = LocalSegmenter()
    complete = predicted(photos, tmp_path / "complete", long_side="photo", tile=10_000)
    tiles = predicted(
        photos, tmp_path / "tiles", segmenter, long_side="photo", tile=96, overlap=32, overlays=True
    )
    assert max(max(shape[2:]) for shape in segmenter.shapes) <= 96
    assert set(files(tiles)) == set(files(complete)) == set(files(tiles, "overlays"))
    for name, path in files(complete).items():
        one, other = read_mask(path, 3), read_mask(files(tiles)[name], 3)
        assert (one != other).mean() < 0.01, name


def test_very_large_photos_are_labeled_one_at_a_time(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = predicted(photos, tmp_path / "usual")
    monkeypatch.setattr(per_photo, "LARGE_PIXELS", 3000)
    assert contents(predicted(photos, tmp_path / "large")) == contents(usual)


def test_bad_photos_are_listed_and_the_others_labeled(photos: Path, tmp_path: Path) -> None:
    first = predicted(photos, tmp_path / "out", overlays=True)
    everything = set(files(first))
    (photos / "text.jpg").write_text("no photo")
    (photos / "empty.png").touch()
    cut_off(photos / "6.png")
    made = predicted(photos, tmp_path / "out", overlays=True)
    assert set(files(made)) == set(files(made, "overlays")) == everything - {"6"}
    assert made.manifest.counts == {"photos": len(everything) - 1, "computed": 0}
    reasons = dict(line.split(": ", 1) for line in made.manifest.skipped)
    assert set(reasons) == {"text", "empty", "6"}
    assert reasons["text"] == "not a photo, despite its name"
    assert "can't be read" in reasons["6"]


def test_equal_names_in_another_folder_are_other_photos(tmp_path: Path) -> None:
    """Even if name, bytes and time are equal."""
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "x.bmp"
        Image.fromarray(colorful(20, 20, number)).save(path)
        os.utime(path, ns=(1, 1))
    first = contents(predicted(tmp_path / "one", tmp_path / "out"))
    with pytest.raises(RunFolderError, match=r"names of these .*: x \[.*out"):
        predicted(tmp_path / "two", tmp_path / "out")
    assert contents(Predictions.open(tmp_path / "out")) == first, "still complete"
    assert contents(predicted(tmp_path / "two", tmp_path / "again")) != first


def test_masks_of_earlier_calls_stay(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    some = [photos / f"{name}.png" for name in "012"]
    predict(list_photos(some), LocalSegmenter(), Predict(), out, model="local")
    before = stamps(Predictions.open(out))
    second = predict(
        list_photos([photos / "2.png", photos / "3.png"]),
        LocalSegmenter(),
        Predict(),
        out,
        model="local",
    )
    assert second.manifest.counts == {"photos": 2, "computed": 1, "earlier": 2}
    after = stamps(second)
    assert set(after) == {"0", "1", "2", "3"}
    assert {name: after[name] for name in before} == before


def test_only_photos_with_impossible_mask_names_are_skipped(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    names = [
        "fine.png",
        "a\nb.png",
        "x.jpg",
        "x.png/y.png",
        "x.jpg.png/z.png",
        os.fsdecode(b"\xe0" * 60 + b".png"),
    ]
    for number, name in enumerate(names):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colorful(20, 20, number)).save(photos / name)
    for _ in range(2):
        made = predicted(photos, tmp_path / "out")
        assert {name for name, path in files(made).items() if path.is_file()} == {
            "fine",
            "x.png/y",
            "x.jpg.png/z",
        }
        assert len(made.manifest.skipped) == 3
        assert "x.jpg: a folder has the name of its mask" in made.manifest.skipped


def test_masks_of_earlier_calls_with_conflicting_names(tmp_path: Path) -> None:
    for name in ("x.bmp", "x.png/y.bmp"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colorful(20, 20, 0)).save(tmp_path / "photos" / name)
    out = tmp_path / "out"
    predict(
        list_photos([tmp_path / "photos" / "x.bmp"]),
        LocalSegmenter(),
        Predict(),
        out,
        model="local",
    )
    later = list_photos([f"{tmp_path}/photos/*/y.bmp"])
    assert [photo.id for photo in later] == ["x.png/y"]
    with pytest.raises(RunFolderError, match=r"names of these .*: x\.png/y \["):
        predict(later, LocalSegmenter(), Predict(), out, model="local")
    assert set(files(Predictions.open(out))) == {"x"}


def test_only_changed_photos_are_labeled_again(photos: Path, tmp_path: Path) -> None:
    made = predicted(photos, tmp_path / "out", confidence=True)
    before = stamps(made)
    assert stamps(predicted(photos, tmp_path / "out", confidence=True)) == before
    files(made, "confidence")["3"].unlink()
    Image.fromarray(colorful(20, 20, 7)).save(photos / "0.png")
    Image.fromarray(colorful(20, 20, 8)).save(photos / "new.png")
    again = predicted(photos, tmp_path / "out", confidence=True)
    after = stamps(again)
    assert set(after) == {*before, "new"} == set(files(again, "confidence"))
    assert {name for name in after if after[name] != before.get(name)} == {"0", "3", "new"}
    assert again.manifest.counts == {"photos": len(after), "computed": 3}
    assert contents(again) == contents(predicted(photos, tmp_path / "again", confidence=True))


def test_other_settings_or_another_model_are_rejected(photos: Path, tmp_path: Path) -> None:
    predicted(photos, tmp_path / "out")
    predicted(photos, tmp_path / "out", batch_size=3)
    with pytest.raises(RunFolderError, match=r"predict\.flip: false -> true"):
        predicted(photos, tmp_path / "out", flip=True)
    with pytest.raises(RunFolderError, match="input model: local -> other"):
        predict(list_photos([photos]), LocalSegmenter(), Predict(), tmp_path / "out", model="other")


def test_several_processes_share_the_photos(photos: Path, tmp_path: Path) -> None:
    alone = predicted(photos, tmp_path / "alone")
    segmenters = [LocalSegmenter(), LocalSegmenter()]
    out = tmp_path / "two"
    (photos / "text.jpg").write_text("no photo")
    one, other = run_on_ranks(
        lambda ranks: predict(
            list_photos([photos]),
            segmenters[ranks.rank],
            Predict(),
            out,
            model="local",
            ranks=ranks,
        ),
        2,
    )
    assert one == other
    assert contents(one) == contents(alone)
    assert one.manifest.skipped == ("text: not a photo, despite its name",)
    shares = [len(segmenter.shapes) for segmenter in segmenters]
    assert abs(shares[0] - shares[1]) <= 1 and sum(shares) == len(files(alone))


def start(photos: Path, out: Path, seconds: float) -> subprocess.Popen[str]:
    line = [sys.executable, TESTS / "predict_process.py", photos, out, str(seconds)]
    return subprocess.Popen(
        [str(word) for word in line],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
        env=environment(),
    )


def test_masks_are_the_same_after_kills(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(60):
        Image.fromarray(colorful(40 + index % 3 * 24, 64, index)).save(photos / f"{index:02}.png")
    complete = predicted(photos, tmp_path / "complete", confidence=True)
    for count in (3, 25):
        kill_when(start(photos, out, 0.05), lambda count=count: len(files(out)) >= count)
        assert not (out / "manifest.json").exists()
        written = contents(out)
        assert count <= len(written) < 60
        assert all(written[name] == contents(complete)[name] for name in written)
    end_of(start(photos, out, 0))
    assert contents(out) == contents(complete)
    assert contents(out, "confidence") == contents(complete, "confidence")
    assert not list(out.rglob(".tmp-*"))
    # Recorded masks were not computed again, except those killed before they were recorded.
    assert Predictions.open(out).manifest.counts["computed"] <= 60 - 25 + 8


def test_ctrl_c_ends_with_130_and_is_resumed(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(300):
        Image.fromarray(colorful(200, 300, index)).save(photos / f"{index:03}.png")
    line = ("predict", photos, "--model", write_network(tmp_path / "net.onnx"))
    interrupt_when(start_command(*line, "--out", out), lambda: len(files(out)) >= 3)
    assert not (out / "manifest.json").exists() and 3 <= len(files(out)) < 300
    assert invoke(*line, "--out", out).exit_code == 0
    assert Predictions.open(out).manifest.counts["computed"] < 300
    assert invoke(*line, "--out", tmp_path / "complete").exit_code == 0
    assert contents(out) == contents(tmp_path / "complete")
    assert not list(out.rglob(".tmp-*"))


@pytest.mark.parametrize("other", ["format", "opset"])
def test_a_network_of_another_version_is_rejected(photos: Path, tmp_path: Path, other: str) -> None:
    if other == "format":
        known = SPEC_OF_ONNX.to_json()
        newer = known.replace(f'"format": {SPEC_OF_ONNX.format}', '"format": 99')
        assert newer != known
        model, message = write_network(tmp_path / "net.onnx", metadata={KEY: newer}), "format 99"
    else:
        model, message = write_network(tmp_path / "net.onnx", opset=99), "version of ONNX"
    result = invoke("predict", photos, "--model", model, "--out", tmp_path / "out")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and message in line and str(model) in line
    assert not (tmp_path / "out").exists()


def test_predicting_needs_no_torch(photos: Path, tmp_path: Path) -> None:
    process = start(photos, tmp_path / "out", 0)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert printed.strip() == "False"


# In a run.

SPEC = SegmenterSpec(
    ("cat", "dog", "bird"), "unet", "test_efficientnet", 32, 64, decoder_channels=None
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of train-segmenter with a random network."""
    torch.manual_seed(1)
    net = build_segmenter(SPEC).eval()
    with torch.no_grad():
        net.net.segmentation_head[0].weight.mul_(30)
    out = tmp_path_factory.mktemp("run") / "train-segmenter"
    with step_folder(SegmenterModel, out, section={}) as step:
        save_segmenter(out / "model.safetensors", net, SPEC)
        step.finish()
    return out


def in_run(data: PreparedData, network: Path, out: Path, **settings: Any) -> Predictions:
    named = {f"predict__{key}": value for key, value in {"precision": "32", **settings}.items()}
    return predict_prepared(
        data, SegmenterModel.open(network), recipe(**named).predict, out, one_rank()
    )


def test_the_photos_of_a_run(data: PreparedData, network: Path, tmp_path: Path) -> None:
    made = in_run(data, network, tmp_path / "predict")
    samples = {s.id: s for split in ("train", "val") for s in read_index(data.path, split)}
    assert set(files(made)) == set(samples)
    found = {name: read_mask(path, 3) for name, path in files(made).items()}
    assert all(found[name].shape == sample.size for name, sample in samples.items())
    assert len(np.unique(np.concatenate([labels.ravel() for labels in found.values()]))) > 1
    assert stamps(in_run(data, network, tmp_path / "predict")) == stamps(made)
    validation = in_run(data, network, tmp_path / "val", splits=["val"])
    assert set(files(validation)) == {s.id for s in read_index(data.path, "val")}
    everything = contents(made)
    assert all(everything[name] == mask for name, mask in contents(validation).items())


def test_predictions_without_the_tags_are_counted(
    data: PreparedData, network: Path, tmp_path: Path
) -> None:
    made = in_run(data, network, tmp_path / "predict")
    samples = {s.id: s for split in ("train", "val") for s in read_index(data.path, split)}
    masks = {name: read_mask(path, 3) for name, path in files(made).items()}
    empty = [
        name
        for name, sample in samples.items()
        if sample.tags and not np.isin(masks[name], [tag + 1 for tag in sample.tags]).any()
    ]
    assert made.manifest.metrics.get("without_tagged_pixels", []) == empty
    net = build_segmenter(SPEC).eval()
    with torch.no_grad():
        net.net.segmentation_head[0].bias[0] = 1e4  # background everywhere
    out = tmp_path / "train-segmenter"
    with step_folder(SegmenterModel, out, section={}) as step:
        save_segmenter(out / "model.safetensors", net, SPEC)
        step.finish()
    (warning,) = in_run(data, out, tmp_path / "background").manifest.metrics["warnings"]
    assert "all 10 tagged photos show none" in warning and "train_segmenter.epochs" in warning


def test_photos_added_to_and_removed_from_a_run(network: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos")
    before = in_run(prepared(photos, tmp_path / "prepare"), network, tmp_path / "predict")
    stamped = stamps(before)
    write_table(photos, read_table(photos)[1:])
    data = prepared(photos, tmp_path / "less")
    again = in_run(data, network, tmp_path / "predict")
    assert stamps(again) == {name: at for name, at in stamped.items() if name != "a/00"}
    assert again.manifest.counts == {"photos": 11, "computed": 0, "removed": 1}


def test_bad_photos_of_a_run(data: PreparedData, network: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    cut_off(photos / "a" / "04.png")
    with pytest.raises(DataError, match=r"04\.png.*--skip-bad"):
        in_run(data, network, tmp_path / "predict")
    made = in_run(data, network, tmp_path / "predict", skip_bad=True)
    assert len(files(made)) == 11 and "a/04" not in files(made)
    assert made.manifest.skipped[0].startswith("a/04: photo can't be read")
    Image.new("RGB", (9, 9)).save(photos / "a" / "02.png")
    with pytest.raises(DataError, match=r"different size than when it was listed.*02\.png"):
        in_run(data, network, tmp_path / "other")


def test_a_network_of_other_classes_is_rejected(
    data: PreparedData, network: Path, tmp_path: Path
) -> None:
    (data.path / "classes.json").write_text(json.dumps({"names": ["cat", "dog", "cow"]}))
    with pytest.raises(DataError, match="trained on different classes"):
        in_run(data, network, tmp_path / "predict")


# The command.

ONE_THREAD = ("--set", "runtime.device=cpu", "--set", "runtime.threads=1")


def test_the_command(photos: Path, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ["predict", photos, "--model", network, "--out", out, *ONE_THREAD]
    done = invoke(*line)
    assert done.exit_code == 0, done.stderr
    assert f"predict: {out} (14 photos, 14 computed)" in done.stdout
    (photos / "text.jpg").write_text("no photo")
    left = invoke(*line)
    assert left.exit_code == 3
    assert "left out: text: not a photo" in left.stderr
    by_file = invoke(
        "predict",
        f"{photos}/*.png",
        photos / "modes",
        "--model",
        network / "model.safetensors",
        "--out",
        tmp_path / "by-file",
        *ONE_THREAD,
    )
    assert by_file.exit_code == 0, by_file.stderr
    assert contents(tmp_path / "by-file") == contents(out)


def test_a_run_predicts_with_the_settings_of_its_recipe(
    photos: Path, network: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(network, run / "train-segmenter")
    (run / "recipe.yaml").write_text("predict: {long_side: 96, confidence: true}\n")
    out = tmp_path / "out"
    line = ["predict", photos / "6.png", "--model", run, "--out", out, *ONE_THREAD]
    done = invoke(*line)
    assert done.exit_code == 0, done.stderr
    assert Predictions.open(out).manifest.metrics["long_side"] == 96
    assert set(files(out, "confidence")) == {"6"}
    for inside in (run / "train-segmenter", run / "train-segmenter" / "model.safetensors"):
        same = invoke("predict", photos / "6.png", "--model", inside, "--out", out, *ONE_THREAD)
        assert same.exit_code == 0, same.stderr
    rejected = invoke(*line, "--recipe", "tiny")
    assert rejected.exit_code == 1
    assert "predict.long_side: 96 ->" in rejected.stderr
    again = invoke(*line, "--recipe", "tiny", "--redo")
    assert again.exit_code == 0, again.stderr


def test_masks_in_the_folder_of_photos_are_not_photos(
    photos: Path, network: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        done = invoke("predict", photos, "--model", network, "--out", photos / "masks", *ONE_THREAD)
        assert done.exit_code == 0, done.stderr
        assert "(14 photos" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no such photo or folder"),
        (["*.webp"], "the pattern matches no photo"),
        (["."], "no photo in the folder"),
    ],
)
def test_nothing_to_predict(
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("predict", *arguments, "--model", network, "--out", tmp_path / "out", *ONE_THREAD)
    assert done.exit_code == 1
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
