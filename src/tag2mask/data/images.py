"""Photo files of any kind -> upright 8-bit RGB; sizes from the header alone.

One place decides how a pixel of any mode becomes red, green and blue, so that training, inference
and evaluation see the same photo:

* the orientation of the EXIF record is applied, as every viewer does;
* transparency is laid on white, as viewers and browsers show a cut-out;
* 16-bit gray is scaled by the full range of its type, so that two photos stay comparable;
* 32-bit gray has no agreed range: 0..1, 0..255 and 0..65535 are recognized by the values, anything
  else is stretched from its minimum to its maximum;
* of an animation or a stack of pages the first is read.

Left out: color profiles. CMYK is converted by the plain formula and wide-gamut RGB is taken as
sRGB; networks trained on web photos don't notice.
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
"""Not every Pillow can: such a photo is named as one that can't be read, not passed over."""
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
"""Lower-case suffixes of the files that count as photos when a folder is listed."""

LARGE_PIXELS = 1_000_000_000
"""What a photo may have at most: 3 GB once decoded."""

_OPENING = threading.Lock()
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
# What Pillow's decoders raise on broken files, beside OSError.
_BROKEN = (
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


def read_image(path: Path, *, at_least: int | None = None) -> Image.Image:
    """Read a photo as upright RGB.

    Args:
        path: a file of any format and mode that Pillow knows.
        at_least: the long side that the caller needs, px. A JPEG is then decoded at 1/2, 1/4 or
            1/8 of its size when its long side stays at least this long: several times faster for
            large photos. The result may still be larger; it is never enlarged.

    Returns:
        An image of mode RGB with the orientation applied.

    Raises:
        DataError: the file is missing, no photo, damaged, or has over ``LARGE_PIXELS``.
    """
    assert at_least is None or at_least >= 1
    try:
        with _opened(path) as image:
            if at_least is not None and image.format in ("JPEG", "MPO"):
                # draft() keeps both sides at or above the asked ones; only the long one matters.
                wide = image.width >= image.height
                image.draft(None, (at_least, 1) if wide else (1, at_least))
            orientation = _orientation(image)
            image.load()
            rgb = to_rgb(image)
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    return rgb.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else rgb


def image_size(path: Path) -> tuple[int, int]:
    """Size of a photo once upright, from its header; the pixels are not decoded.

    Args:
        path: as for `read_image`.

    Returns:
        ``(h, w)`` in px, the size of ``read_image(path)``.

    Raises:
        DataError: the file is missing or its header is no photo's. A photo that is cut off after
            its header is only found by `read_image`.
    """
    try:
        with _opened(path) as image:
            width, height = image.size
            orientation = _orientation(image)
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                # Some versions of Pillow report a turned TIFF's size, others the stored one.
                width, height = int(image.tag_v2[256]), int(image.tag_v2[257])
                orientation = int(image.tag_v2.get(_ORIENTATION, 1))
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a photo, its pixels not decoded yet."""
    # Pillow's limit, near which it also warns, is a variable of the whole process: lifted for the
    # moment of opening alone.
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        if image.format == "EPS":  # a program, which Pillow would have Ghostscript run
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
    """EXIF orientation 1..8, read before the pixels; 1 where there is none or it is damaged.

    Pillow turns a TIFF itself while loading, so a TIFF counts as upright here.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1
    try:
        # Not image.getexif(): for a PNG it decodes all pixels in search of a record behind them.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
        return int(value)
    except _BROKEN:
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB, its orientation as it is."""
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
    """Gray values of more than 8 bits, (h, w) -> uint8 (h, w); see the head of the module."""
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
    """The error of one photo, with the way to mend it."""
    if isinstance(error, FileNotFoundError):
        return DataError(
            "photo is missing",
            where=path,
            fix="Put the file there, or take its line out of the tags.",
        )
    if isinstance(error, IsADirectoryError):
        return DataError(
            "a folder where a photo should be", where=path, fix="Check the path in the tags."
        )
    if isinstance(error, PermissionError):
        return DataError(
            "no permission to read the photo", where=path, fix="Change the file's permissions."
        )
    if isinstance(error, UnidentifiedImageError):
        kind = path.suffix.lower()
        if kind in _NOT_READ_EVERYWHERE:
            return DataError(
                f"photos of the kind {kind} are not read here",
                where=path,
                fix="Convert it to JPEG or PNG, or leave it out with --skip-bad.",
            )
        return DataError(
            "not a photo, whatever its name says",
            where=path,
            fix="Replace the file, or leave it out with --skip-bad.",
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"photo can't be read: {reason}",
        where=path,
        fix="It is cut off or damaged: replace it, or leave it out with --skip-bad.",
    )
