"""``tag2mask.load(path)(image)``: the same masks as the command's, from whatever image."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import tag2mask
from local_segmenter import colorful
from small_runs import environment, invoke
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError, RecipeError, RunFolderError, WeightsError
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter, save_segmenter

SPEC = SegmenterSpec(
    ("cat", "dog", "bird"), "unet", "test_efficientnet", 32, 64, decoder_channels=None
)
PHOTO = colorful(90, 120)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    net = build_segmenter(SPEC)
    with torch.no_grad():
        net.net.segmentation_head[0].weight.mul_(30)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_segmenter(path, net, SPEC)
    return path


@pytest.fixture(scope="module")
def predictor(model: Path) -> tag2mask.Predictor:
    return tag2mask.load(model, device="cpu")


def test_a_prediction(predictor: tag2mask.Predictor) -> None:
    found = predictor(PHOTO)
    assert isinstance(found, tag2mask.Prediction)
    assert found.labels.shape == found.confidence.shape == (90, 120)
    assert (found.labels.dtype, found.confidence.dtype) == (np.uint8, np.float32)
    assert found.classes.names == predictor.classes.names == SPEC.classes
    assert found.probabilities is None
    assert len(np.unique(found.labels)) > 1
    assert sum(found.shares.values()) == pytest.approx(1)
    for name, share in found.shares.items():
        label = found.classes.mask_names.index(name)
        assert share == pytest.approx((found.labels == label).mean())


def test_any_image_will_do(predictor: tag2mask.Predictor, tmp_path: Path) -> None:
    wanted = predictor(PHOTO).labels
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    opaque = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    for image in (
        Image.fromarray(PHOTO),
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        Image.open(tmp_path / "photo.png"),
        opaque,
    ):
        np.testing.assert_array_equal(predictor(image).labels, wanted)
    gray = Image.fromarray(PHOTO).convert("L")
    np.testing.assert_array_equal(predictor(gray).labels, predictor(np.asarray(gray)).labels)
    assert predictor(PHOTO[:1, :1]).labels.shape == (1, 1)


def test_a_path_is_turned_upright(predictor: tag2mask.Predictor, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(tmp_path / "turned.jpg", exif=exif)
    assert predictor(tmp_path / "turned.jpg").labels.shape == (120, 90)
    wanted = predictor(tmp_path / "turned.jpg").labels
    opened = Image.open(tmp_path / "turned.jpg")
    for image in (opened, opened.convert("RGB"), ImageOps.exif_transpose(opened)):
        np.testing.assert_array_equal(predictor(image).labels, wanted)
    assert predictor(np.asarray(opened)).labels.shape == (90, 120)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "gif"])
def test_encoded_bytes_and_files(
    predictor: tag2mask.Predictor, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(path, **({} if suffix == "gif" else {"exif": exif}))
    wanted = predictor(path).labels
    data = path.read_bytes()
    with path.open("rb") as file, tempfile.SpooledTemporaryFile() as uploaded:
        uploaded.write(data)  # at its end
        piped = BytesIO(data)
        piped.seekable = lambda: False  # type: ignore[method-assign]
        for image in (
            data,
            bytearray(data),
            memoryview(data),
            BytesIO(data),
            file,
            uploaded,
            piped,
        ):
            np.testing.assert_array_equal(predictor(image).labels, wanted)
        assert not file.closed
    assert predictor(data).overlay(data).size == (wanted.shape[1], wanted.shape[0])


def test_encoded_bytes_that_are_not_a_photo(predictor: tag2mask.Predictor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^not a photo\. "):
        predictor(b"nothing")
    Image.fromarray(PHOTO).save(tmp_path / "cut.png")
    with pytest.raises(DataError, match=r"^photo can't be read: "):
        predictor((tmp_path / "cut.png").read_bytes()[:500])
    (tmp_path / "text.txt").write_text("text")
    with (tmp_path / "text.txt").open() as file, pytest.raises(DataError, match="mode 'rb'"):
        predictor(file)  # type: ignore[arg-type]


def test_gray_with_a_third_axis(predictor: tag2mask.Predictor) -> None:
    gray = PHOTO[:, :, 0]
    np.testing.assert_array_equal(predictor(gray[..., None]).labels, predictor(gray).labels)


def test_the_command_writes_the_same_mask(
    model: Path, predictor: tag2mask.Predictor, tmp_path: Path
) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    done = invoke(
        "predict",
        tmp_path / "photo.png",
        "--model",
        model,
        "--out",
        tmp_path / "out",
        "--set",
        "runtime.device=cpu",
        "--set",
        "runtime.threads=1",
    )
    assert done.exit_code == 0, done.stderr
    mask = tmp_path / "out" / "masks" / "photo.png"
    found = predictor(tmp_path / "photo.png")
    np.testing.assert_array_equal(read_mask(mask, 3), found.labels)
    found.mask().save(tmp_path / "own.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "own.png", 3), found.labels)
    with Image.open(mask) as one, Image.open(tmp_path / "own.png") as other:
        assert one.getpalette() == other.getpalette()


def test_overlays(predictor: tag2mask.Predictor) -> None:
    found = predictor(PHOTO)
    whole = found.overlay(PHOTO)
    assert (whole.size, whole.mode) == ((120, 90), "RGB")
    assert found.overlay(Image.fromarray(PHOTO).resize((40, 30))).size == (40, 30)
    assert found.overlay(PHOTO, most=60).size == (60, 45)
    assert found.overlay(PHOTO, most=500).size == (120, 90)
    shown = np.asarray(whole).astype(int)
    free = found.labels == 0
    assert free.any()
    np.testing.assert_array_equal(shown[free], PHOTO[free])
    assert np.abs(shown[~free] - PHOTO[~free]).max() > 20


def test_settings(model: Path, predictor: tag2mask.Predictor) -> None:
    found = tag2mask.load(
        model, device="cpu", long_side="photo", flip=True, scales=(0.5, 1), probabilities=True
    )(PHOTO)
    assert found.probabilities is not None and found.probabilities.shape == (4, 90, 120)
    assert (found.labels != predictor(PHOTO).labels).any()
    with pytest.raises(RecipeError, match=r"predict\.long_sides"):
        tag2mask.load(model, long_sides=3)
    with pytest.raises(RecipeError, match=r"predict\.scales"):
        tag2mask.load(model, scales=(0,))


def test_a_run_brings_its_own_settings(model: Path, tmp_path: Path) -> None:
    from tag2mask.artifacts.handles import SegmenterModel
    from tag2mask.artifacts.step_folder import step_folder

    with step_folder(SegmenterModel, tmp_path / "train-segmenter", section={}) as step:
        (step.path / "model.safetensors").write_bytes(model.read_bytes())
        step.finish()
    (tmp_path / "recipe.yaml").write_text("predict: {long_side: 32, probabilities: true}\n")
    folder = tmp_path / "train-segmenter"
    for path in (tmp_path, folder, folder / "model.safetensors"):
        found = tag2mask.load(path, device="cpu")(PHOTO)
        assert found.probabilities is not None and found.probabilities.shape == (4, 24, 32)
    assert tag2mask.load(tmp_path, device="cpu", probabilities=False)(PHOTO).probabilities is None


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
        None,
        np.zeros((5, 5, 2, 2), np.uint8),
        np.zeros((3, 5, 5), np.uint8),
        np.zeros((5, 5, 2), np.uint8),
    ],
)
def test_what_is_not_an_image(predictor: tag2mask.Predictor, image: object) -> None:
    with pytest.raises(DataError, match="Give a path"):
        predictor(image)  # type: ignore[arg-type]


def test_files_that_are_closed_or_none(predictor: tag2mask.Predictor) -> None:
    closed = BytesIO(b"x")
    closed.close()
    reads_only = SimpleNamespace(read=lambda: b"x")
    for image in (closed, reads_only):
        with pytest.raises(DataError, match="the image is a file that can't be read"):
            predictor(image)  # type: ignore[arg-type]


def test_an_image_without_pixels(predictor: tag2mask.Predictor) -> None:
    with pytest.raises(DataError, match="the image has 0x5 px"):
        predictor(Image.new("RGB", (0, 5)))


def test_files_that_cannot_be_read(predictor: tag2mask.Predictor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="photo is missing") as missing:
        predictor(tmp_path / "gone.jpg")
    assert "tags" not in str(missing.value) and "--skip-bad" not in str(missing.value)
    Image.fromarray(PHOTO).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:500])
    with pytest.raises(DataError, match="can't be read"):
        predictor(tmp_path / "cut.png")
    with pytest.raises(DataError, match="can't be read"):
        predictor(Image.open(tmp_path / "cut.png"))
    with pytest.raises(WeightsError, match="no such model"):
        tag2mask.load(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("path", [None, b"run", 3, ["run"]])
def test_what_is_no_path(path: object) -> None:
    with pytest.raises(WeightsError, match=f"not {type(path).__name__}\\. Give a run folder or"):
        tag2mask.load(path)


def test_a_path_that_is_too_long() -> None:
    with pytest.raises(RunFolderError, match="the file name is too long"):
        tag2mask.load("x" * 300)


def test_importing_the_package_costs_nothing() -> None:
    program = (
        "import sys, tag2mask; print(tag2mask.__version__, 'torch' in sys.modules, "
        "'numpy' in sys.modules); print(tag2mask.load.__module__, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert done.stdout == f"{tag2mask.__version__} False False\ntag2mask.api False\n"
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        tag2mask.laod  # noqa: B018
