"""Mask files: round trip, and errors for images that are not masks."""

from __future__ import annotations

import errno
import os
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tag2mask.classes import ClassSet, voc_palette
from tag2mask.data.decoding import strips as strips_module
from tag2mask.data.images import image_size, read_image
from tag2mask.data.masks import (
    read_mask,
    read_mask_content,
    values_in,
    write_mask,
)
from tag2mask.errors import DataError, RunFolderError
from tag2mask.formats.pixels.palette_image import IGNORE_COLOR

pytestmark = pytest.mark.smoke


@settings(max_examples=25, deadline=None)
@given(classes=st.integers(1, 254), seed=st.integers(0, 99), side=st.integers(1, 30))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, classes: int, seed: int, side: int
) -> None:
    path = tmp_path_factory.mktemp("masks") / "a.png"
    colors = ClassSet(tuple(f"c{i}" for i in range(classes))).colors
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.r_[0 : classes + 1, 255], (side, 7)).astype(np.uint8)
    write_mask(path, mask, colors)
    np.testing.assert_array_equal(read_mask(path, classes), mask)
    shown = np.asarray(Image.open(path).convert("RGB"))
    lut = np.zeros((256, 3), np.uint8)
    lut[: classes + 1], lut[255] = colors, IGNORE_COLOR
    np.testing.assert_array_equal(shown, lut[mask])
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_a_palette_png_is_written(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", np.zeros((3, 4), np.uint8), voc_palette(21))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert image.size == (4, 3)


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_every_indexed_mode_is_read(tmp_path: Path, mode: str) -> None:
    mask = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
    image = Image.fromarray(mask.astype(np.uint16) if mode == "I;16" else mask)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == mode
    read = read_mask(tmp_path / "a.png", 2)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, mask)


def test_one_bit_mask_is_class_one(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", 1), [[1, 0]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_color_coded_masks_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "color.png")
    with pytest.raises(DataError, match=r"color-coded.*color\.png.*one-channel PNG"):
        read_mask(tmp_path / "color.png", 20)


def test_values_that_are_not_classes_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 3, 4, 250, 255]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(
        DataError, match=r"has the values 4, 250; 3 classes allow 0\.\.3 and 255.*a\.png"
    ):
        read_mask(tmp_path / "a.png", 3)
    with pytest.raises(DataError, match=r"has the values 1000;"):
        Image.fromarray(np.full((2, 2), 1000, np.uint16)).save(tmp_path / "b.png")
        read_mask(tmp_path / "b.png", 3)


def test_lossy_masks_are_refused(tmp_path: Path) -> None:
    """Whatever their values are: 0 and 1 become 0 and 1 only by chance."""
    mask = np.zeros((32, 32), np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"is a JPEG image, whose compression.*a\.jpg.*must be PNG"):
        read_mask(tmp_path / "a.jpg", 1)
    Image.fromarray(mask).save(tmp_path / "a.png", "WEBP", lossless=True)
    with pytest.raises(DataError, match=r"is a WebP image.*a\.png"):
        read_mask(tmp_path / "a.png", 1)


@pytest.mark.parametrize("second", [(8, 6), (4, 3)])
def test_masks_of_several_images_are_refused(tmp_path: Path, second: tuple[int, int]) -> None:
    """One page per class; a pyramid's smaller pages show the same."""
    first = Image.new("L", (8, 6), 1)
    path = tmp_path / "a.tif"
    first.save(path, save_all=True, append_images=[Image.new("L", second, 2)])
    if second == first.size:
        with pytest.raises(DataError, match=r"several images in one file .*a\.tif.*one-channel"):
            read_mask(path, 2)
    else:
        assert (read_mask(path, 2) == 1).all()


def test_a_mask_that_is_a_program_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    Image.new("L", (8, 8)).save(tmp_path / "mask.png", "EPS")
    with pytest.raises(DataError, match=r"not a mask, despite its name.*mask\.png"):
        read_mask(tmp_path / "mask.png", 1)
    with pytest.raises(DataError, match="not a photo"):
        read_image(tmp_path / "mask.png")
    assert not (tmp_path / "started").exists()


def test_masks_of_any_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 25)
    mask = np.arange(7 * 9).reshape(7, 9).astype(np.uint8)
    colors = voc_palette(70)
    write_mask(tmp_path / "a.png", mask, colors)
    monkeypatch.setattr(strips_module, "STRIP_PIXELS", 20)  # several strips
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png", 69), mask)
        content = read_mask_content(tmp_path / "a.png", 69)
    assert content.size == (7, 9)
    assert content.values == frozenset(range(63))
    assert content.colors == {(value, tuple(colors[value])) for value in range(1, 63)}
    with pytest.raises(DataError, match="has the values 61, 62;"):
        read_mask(tmp_path / "a.png", 60)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.array([[0, 2], [255, 2]], np.uint8)),
        Image.fromarray(np.array([[0, 2], [255, 2]], np.uint16)),
        Image.fromarray(np.array([[0, 1], [1, 1]], np.bool_)),
        Image.fromarray(np.array([[0, 2], [255, 2]], np.int32)),
    ],
    ids=lambda image: image.mode,
)
def test_the_content_of_a_mask_is_that_of_its_pixels(image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "a.tif")
    content = read_mask_content(tmp_path / "a.tif", 2)
    mask = read_mask(tmp_path / "a.tif", 2)
    assert content == (mask.shape, values_in(mask), frozenset())
    if image.mode != "1":
        with pytest.raises(DataError, match="mask has the values 2; 1 classes allow"):
            read_mask_content(tmp_path / "a.tif", 1)


def test_valid_masks_are_read_while_other_threads_open_photos(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "photo.jpg")
    write_mask(tmp_path / "mask.png", np.ones((6, 8), np.uint8), voc_palette(3))
    stop = threading.Event()

    def open_photos() -> None:
        while not stop.is_set():
            image_size(tmp_path / "photo.jpg")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change more often, nothing else
    thread = threading.Thread(target=open_photos)
    try:
        thread.start()
        for _ in range(150):
            read_mask(tmp_path / "mask.png", 1)
            read_mask_content(tmp_path / "mask.png", 1)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_missing_and_broken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing.*gone\.png"):
        read_mask(tmp_path / "gone.png", 3)
    noise = np.random.default_rng(0).integers(0, 3, (200, 200)).astype(np.uint8)
    write_mask(tmp_path / "cut.png", noise, voc_palette(4))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"can't be read.*cut\.png"):
        read_mask(tmp_path / "cut.png", 3)


def test_voc_ground_truth(shared: Path) -> None:
    paths = sorted((shared / "voc12" / "SegmentationClass").iterdir())[:10]
    assert paths
    for path in paths:
        assert set(np.unique(read_mask(path, 20))) <= {*range(21), 255}


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_mask(path, np.ones((3, 3), np.uint8), voc_palette(3))
    before = path.read_bytes()

    def full_disk(self: Image.Image, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(RunFolderError, match="disk is full"):
        write_mask(path, np.zeros((3, 3), np.uint8), voc_palette(3))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
