"""Reading of photo files: upright 8-bit RGB, and sizes from the header alone.

All of training, inference and evaluation read photos here, so they see the same pixels:

* the EXIF orientation is applied, as every viewer does;
* transparent pixels are blended with white, as in viewers and browsers;
* 16-bit gray is scaled by the full range of its type, so that photos stay comparable;
* 32-bit gray has no standard range: 0..1, 0..255 and 0..65535 are recognized by the values, any
  other range is stretched from its minimum to its maximum;
* of an animation or a multi-page file the first image is read.

Color profiles are ignored: CMYK is converted by the plain formula and wide-gamut RGB is read as
sRGB, a small difference for networks trained on web photos.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from tag2mask.errors import DataError

_NOT_READ_EVERYWHERE = frozenset({".avif", ".heic", ".heif"})
"""Some builds of Pillow can't: such a photo is then reported as unreadable, not ignored."""
IMAGE_SUFFIXES = _NOT_READ_EVERYWHERE | {
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".ppm",
    ".pgm",
}
"""Suffixes, in lower case, of the files that count as photos when a folder is listed."""

LARGE_PIXELS = 1_000_000_000
"""The most pixels a photo may have: 3 GB once decoded."""

_OPEN_LOCK = threading.Lock()
_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on damaged files."""


def read_image(path: Path, *, at_least: int | None = None) -> Image.Image:
    """Read a photo as upright RGB.

    Args:
        path: a file of any format and mode that Pillow reads.
        at_least: the long side that the caller needs, px. A JPEG is then decoded at 1/2, 1/4 or
            1/8 of its size if its long side remains at least this long, which is several times
            faster for large photos. The result may be larger; it is never enlarged.

    Returns:
        An image of mode RGB with the orientation applied.

    Raises:
        DataError: the file is missing, no photo, damaged, or has more than ``LARGE_PIXELS``.
    """
    assert at_least is None or at_least >= 1
    try:
        with _open(path) as image:
            if at_least is not None and image.format in ("JPEG", "MPO"):
                # draft() keeps both sides at least as long as given; only the long one matters.
                wide = image.width >= image.height
                image.draft(None, (at_least, 1) if wide else (1, at_least))
            orientation = _orientation(image)
            image.load()
            rgb = to_rgb(image)
    except DECODE_ERRORS as error:
        raise _unreadable(path, error) from None
    return rgb.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else rgb


def image_size(path: Path) -> tuple[int, int]:
    """Return the upright size of a photo from its header, without decoding the pixels.

    Args:
        path: as for `read_image`.

    Returns:
        ``(h, w)`` in px, the size of ``read_image(path)``.

    Raises:
        DataError: the file is missing or has no photo's header. Only `read_image` finds a photo
            that is cut off after its header.
    """
    try:
        with _open(path) as image:
            width, height = image.size
            orientation = _orientation(image)
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                # Depending on its version, Pillow reports the rotated or the stored size of a TIFF.
                width, height = int(image.tag_v2[256]), int(image.tag_v2[257])
                orientation = int(image.tag_v2.get(_ORIENTATION, 1))
    except DECODE_ERRORS as error:
        raise _unreadable(path, error) from None
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Open a photo without decoding its pixels."""
    # Pillow's limit, near which it also warns, is global to the process: it is lifted only while
    # the file is opened.
    with _OPEN_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        if image.format == "EPS":  # a program, which Pillow would run with Ghostscript
            raise UnidentifiedImageError
        if image.width * image.height > LARGE_PIXELS:
            raise DataError(
                f"photo has {image.width} x {image.height} pixels, more than "
                f"{LARGE_PIXELS // 10**6:,} megapixels",
                where=path,
                fix="Cut it into pieces.",
            )
        yield image


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8 before decoding; 1 where it is missing or damaged.

    Pillow itself rotates a TIFF while loading, so a TIFF counts as upright here.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1
    try:
        # Not image.getexif(): for a PNG it decodes all pixels to find a record after them.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
        return int(value)
    except DECODE_ERRORS:
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB; its orientation is not changed."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image  # no copy, which would double the memory of a large photo
    if mode == "F" or mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image), mode)).convert("RGB")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        if mode == "La":
            image = image.convert("LA")
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bits(gray: np.ndarray, mode: str) -> np.ndarray:
    """Convert gray of more than 8 bits, (h, w) -> uint8 (h, w), as the module's docstring says."""
    values = np.nan_to_num(gray.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0.0 and mode == "F" and high <= 1.0:
        low, high = 0.0, 1.0
    elif low >= 0.0 and high <= 255.0:
        low, high = 0.0, 255.0
    elif low >= 0.0 and high <= 65535.0:
        low, high = 0.0, 65535.0
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def _unreadable(path: Path, error: BaseException) -> DataError:
    """Return the error of a photo with what to do about it."""
    if isinstance(error, FileNotFoundError):
        return DataError(
            "photo is missing",
            where=path,
            fix="Put the file there, or remove its line from the tags.",
        )
    if isinstance(error, IsADirectoryError):
        return DataError(
            "a folder, where a photo is expected", where=path, fix="Check the path in the tags."
        )
    if isinstance(error, PermissionError):
        return DataError(
            "no permission to read the photo", where=path, fix="Change the file's permissions."
        )
    if isinstance(error, UnidentifiedImageError):
        kind = path.suffix.lower()
        if kind in _NOT_READ_EVERYWHERE:
            return DataError(
                f"this build of Pillow can't read {kind} photos",
                where=path,
                fix="Convert it to JPEG or PNG, or leave it out with --skip-bad.",
            )
        return DataError(
            "not a photo, despite its name",
            where=path,
            fix="Replace the file, or leave it out with --skip-bad.",
        )
    return DataError(
        f"photo can't be read: {one_line(error)}",
        where=path,
        fix="It is cut off or damaged: replace it, or leave it out with --skip-bad.",
    )


def one_line(error: BaseException) -> str:
    """Return an error's text in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
