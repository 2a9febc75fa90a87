"""predict.py in an exported folder: the masks of tag2mask predict, without torch and tag2mask."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from watching import alone, run, write_export

from local_segmenter import colorful
from small_runs import invoke
from tag2mask.data.layouts.folder_names import SYSTEM_FOLDERS
from tag2mask.formats.photo_names import PHOTO_SUFFIXES
from tag2mask.formats.pixels.opening import FORMATS, MAX_PIXELS, PIXELS_PER_BYTE
from tag2mask.segmentation.standalone import files
from tag2mask.segmentation.standalone import photos as reading


def write_photos(folder: Path) -> None:
    """Write photos of many kinds: turned, gray, 16-bit, transparent, large, in folders."""
    (folder / "more").mkdir(parents=True)
    photo = Image.fromarray(colorful(90, 140, 1))
    gray = np.asarray(photo.convert("L"))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo.save(folder / f"turned-{orientation}.jpg", exif=exif)
    photo.save(folder / "turned.tif", tiffinfo={274: 6})
    exif = Image.Exif()
    exif[0x0112] = 8
    photo.save(folder / "turned.png", exif=exif)
    photo.convert("L").save(folder / "gray.png")
    photo.convert("LA").save(folder / "gray-alpha.png")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.quantize(16).save(folder / "palette.gif")
    photo.convert("1").save(folder / "bits.png")
    Image.fromarray(gray.astype(np.uint16) * 251).save(folder / "16.png")
    Image.fromarray(gray.astype(np.uint16) * 251).save(folder / "16.tif")
    Image.fromarray(gray.astype(np.int32) * 9000 - 70).save(folder / "32.tif")
    Image.fromarray(gray.astype(np.float32) / 300).save(folder / "float.tif")
    clear = photo.convert("RGBA")
    clear.putalpha(Image.fromarray(gray))
    clear.save(folder / "rgba.png")
    clear.save(folder / "rgba.webp")
    Image.fromarray(colorful(3000, 4100, 2)).save(folder / "large.jpg", quality=80)
    Image.fromarray(colorful(2100, 900, 3)).save(folder / "more" / "tall.bmp")
    Image.fromarray(colorful(1, 7, 4)).save(folder / "more" / "tiny.ppm")
    (folder / "broken.jpg").write_bytes((folder / "16.png").read_bytes()[:300])
    (folder / "notes.txt").write_text("no photo")


def masks(folder: Path) -> dict[str, bytes]:
    root = folder / "masks"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}


SETTINGS: dict[str, dict[str, Any]] = {
    "trained": {},
    "views": {"scales": (0.7, 1.0, 1.3), "flip": True},
    "published": {"behavior": "published", "scales": (0.5, 1.0), "flip": True, "long_side": 100},
    "tiles": {"long_side": None, "tile": 256, "overlap": 40, "scales": (1.0, 0.5), "flip": True},
    "one tile": {"long_side": 640, "tile": 128, "overlap": 16},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camera") / "photos"
    write_photos(folder)
    return folder


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_no_byte_of_a_mask_differs(photos: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    exported = write_export(tmp_path / "exported", **settings)
    with_tag2mask = invoke("predict", photos, "--model", exported, "--out", tmp_path / "a")
    assert with_tag2mask.exit_code == 3, with_tag2mask.stderr
    done = run(alone(exported, photos, "--out", tmp_path / "b"))
    assert done.returncode == 3, done.stderr
    assert "left out: 'broken': " in done.stderr
    expected = masks(tmp_path / "a")
    assert len(expected) == 24 and masks(tmp_path / "b") == expected
    seen = {
        value
        for content in (tmp_path / "a/masks").rglob("*.png")
        for value in np.unique(np.asarray(Image.open(content))).tolist()
    }
    assert seen == {0, 1, 2, 3}


def test_a_pattern_of_folders_and_one_without_photos(photos: Path, tmp_path: Path) -> None:
    exported = write_export(tmp_path / "exported")
    done = run(alone(exported, photos.parent / "*" / "mor?", "--out", tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert masks(tmp_path / "out").keys() == {"photos/more/tall.png", "photos/more/tiny.png"}
    (tmp_path / "empty").mkdir()
    done = run(alone(exported, tmp_path / "empty", "--out", tmp_path / "none"))
    assert done.returncode == 1 and "no photo in" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_folder_that_the_encoding_of_the_output_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    exported, out = write_export(tmp_path / "exported"), tmp_path / "マスク"
    Image.fromarray(colorful(20, 30, 1)).save(tmp_path / "a.png")
    program = [sys.executable, str(exported / "predict.py")]
    done = run([*program, str(tmp_path / "a.png"), "--out", str(out)])
    assert done.returncode == 0, done.stderr
    assert "\\u30de\\u30b9\\u30af (1 photos" in done.stdout and not done.stderr


def test_a_folder_whose_record_is_damaged_is_not_continued(tmp_path: Path) -> None:
    exported, out = write_export(tmp_path / "exported"), tmp_path / "out"
    photo = tmp_path / "a.png"
    Image.fromarray(colorful(20, 30, 1)).save(photo)
    assert run(alone(exported, photo, "--out", out)).returncode == 0
    assert run(alone(exported, photo, "--out", out)).returncode == 0
    (out / "predict.json").write_text("{")
    done = run(alone(exported, photo, "--out", out))
    assert done.returncode == 1 and "give another" in done.stderr


def test_both_programs_know_the_same_files() -> None:
    assert files.SUFFIXES == PHOTO_SUFFIXES and files.SYSTEM == SYSTEM_FOLDERS
    assert (reading.FORMATS, reading.MAX_PIXELS) == (FORMATS, MAX_PIXELS)
    assert reading.PIXELS_PER_BYTE == PIXELS_PER_BYTE


def test_photos_beyond_pillows_limit_are_labeled(tmp_path: Path) -> None:
    exported = write_export(tmp_path / "exported")
    photo = tmp_path / "large.png"
    Image.fromarray(colorful(20, 30, 1)).save(photo)
    limited = "import runpy, sys; from PIL import Image; Image.MAX_IMAGE_PIXELS = 100"
    limited += "; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    line = [sys.executable, "-c", limited, str(exported / "predict.py"), str(photo)]
    done = run([*line, "--out", str(tmp_path / "out")])
    assert done.returncode == 0, done.stderr
    assert masks(tmp_path / "out").keys() == {"large.png"}
