"""Open image files: the formats that are tried, the size limit, and errors.

Pillow's own size limit is global to the process: changing it, even for a moment, makes files that
other threads open fail. Its format plugins are called directly here, which check no limit.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from tag2mask.errors import DataError, DeviceError, Tag2MaskError
from tag2mask.files.regular_file import SpecialFileError, open_regular
from tag2mask.formats.pixels.tiff import describe_tiff, misread_planes

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "AVIF", "HEIF")
"""Formats that are tried. Others of Pillow's may run programs (EPS) or decode without limits."""
for _plugin in ("Jpeg", "Png", "Tiff", "WebP", "Bmp", "Gif", "Ppm", "Avif"):
    with suppress(ImportError):  # older versions of Pillow have no AVIF
        import_module(f"PIL.{_plugin}ImagePlugin")
MAX_PIXELS = 1_000_000_000
"""The most pixels an image may have."""

PIXELS_PER_BYTE = {
    "JPEG": 512,  # a bit for each block of 8 x 8 pixels
    "MPO": 512,
    "PNG": 8 * 1032,  # one bit per pixel, compressed as far as deflate can
    "GIF": 4096,
    "PPM": 8,
}
"""The most pixels that a byte of a file can hold, in formats that have such a limit."""
_NOT_READ_EVERYWHERE = {".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF"}
"""Formats that some builds of Pillow can't read."""
_BAD_HEADER = (SyntaxError, IndexError, TypeError, struct.error)
"""What Pillow's plugins raise for a file that isn't of their format."""


class _UnsupportedTiffError(Exception):
    """A TIFF of a kind that can't be read; the text says which."""


DECODE_ERRORS = (
    _UnsupportedTiffError,
    MemoryError,
    RuntimeError,
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
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files."""

Source = Path | BinaryIO
"""A file's path, or an open binary file that can seek."""


@contextmanager
def opened_image(
    source: Source, noun: str, formats: Collection[str] = FORMATS
) -> Iterator[ImageFile]:
    """Open an image without decoding its pixels, and turn errors in the block into messages.

    Args:
        source: the file.
        noun: what the image is, for messages.
        formats: those of `FORMATS` that it may have.

    Raises:
        DataError: missing, of another format, damaged, or with more than `MAX_PIXELS`.
        DeviceError: too little memory to decode it.
    """
    where = source if isinstance(source, Path) else None
    try:
        with open_regular(source) if isinstance(source, Path) else nullcontext(source) as file:
            file.seek(0)
            with _identify(file, formats) as image:
                _check_header(image, file, where, noun)
                yield image
    except DECODE_ERRORS as error:
        raise _unreadable(error, where, noun) from None


def load_pixels(image: ImageFile) -> None:
    """Decode the pixels of an opened image of any size."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and hasattr(image, "_tile_size"):
        # The TIFF plugin would compare the size with Pillow's own limit to make this image.
        image.im = Image.new(image.mode, image._tile_size, None).im
    image.load()


def _identify(file: BinaryIO, formats: Collection[str]) -> ImageFile:
    """Return the image of the first format that accepts a file."""
    prefix = file.read(16)
    refused: Exception = UnidentifiedImageError()
    for name in formats:
        factory, accepts = Image.OPEN.get(name, (None, None))
        # A format that Pillow was built without answers with a message.
        if factory is None or accepts is None or accepts(prefix) is not True:
            continue
        file.seek(0)
        try:
            return factory(file, "")  # without a name the file isn't mapped into memory
        except _BAD_HEADER as error:
            kind = describe_tiff(file) if name == "TIFF" else None
            refused = (
                OSError(f"damaged {name} header: {one_line(error)}")
                if kind is None
                else _UnsupportedTiffError(kind)
            )
    raise refused


def _check_header(image: ImageFile, file: BinaryIO, where: Path | None, noun: str) -> None:
    """Check the size and kind in an image's header, before memory is allocated for it."""
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise DataError(
            f"{noun} has {image.width} x {image.height} pixels, more than "
            f"{MAX_PIXELS // 10**6:,} megapixels",
            where=where,
            fix="Cut it into pieces.",
        )
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (kind := misread_planes(image)):
        raise _UnsupportedTiffError(kind)
    most = PIXELS_PER_BYTE.get(image.format or "")
    if most is not None:
        position = file.tell()
        length = file.seek(0, os.SEEK_END)
        file.seek(position)
        if pixels > most * length:
            raise OSError(f"{length} bytes can't hold {image.width} x {image.height} pixels")


def _unreadable(error: BaseException, where: Path | None, noun: str) -> Tag2MaskError:
    """Return the error of an image that can't be read, with what to do about it."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{noun} is missing", where=where, fix="Put the file there.")
    if isinstance(error, IsADirectoryError):
        return DataError(
            f"a folder, where a {noun} is expected", where=where, fix="Correct the path."
        )
    if isinstance(error, SpecialFileError):
        return DataError(
            f"a pipe or a device, where a {noun} is expected", where=where, fix="Remove it."
        )
    if isinstance(error, PermissionError):
        return DataError(
            f"no permission to read the {noun}", where=where, fix="Change the file's permissions."
        )
    if isinstance(error, MemoryError):
        return DeviceError(
            f"too little memory to decode the {noun}",
            where=where,
            fix="Close other programs, or cut it into pieces.",
        )
    if isinstance(error, Image.DecompressionBombError):
        return DataError(
            f"{noun} is larger than Pillow decodes in its format",
            where=where,
            fix="Save it as PNG or TIFF, or cut it into pieces.",
        )
    if isinstance(error, _UnsupportedTiffError):
        what = "8-bit RGB" if noun == "photo" else "a PNG of one band of 8 bits"
        return DataError(
            f"{noun} is a TIFF of a kind that can't be read here: {error}",
            where=where,
            fix=f"Save it as {what}.",
        )
    if isinstance(error, UnidentifiedImageError):
        kind = "" if where is None else where.suffix.lower()
        if _NOT_READ_EVERYWHERE.get(kind, "JPEG") not in Image.OPEN:
            return DataError(
                f"this build of Pillow can't read {kind} {noun}s",
                where=where,
                fix="Convert it to JPEG or PNG.",
            )
        name = "" if where is None else ", despite its name"
        return DataError(f"not a {noun}{name}", where=where, fix="Replace the file.")
    return DataError(
        f"{noun} can't be read: {one_line(error)}",
        where=where,
        fix="It is cut off or damaged: replace it.",
    )


def one_line(error: BaseException) -> str:
    """Return an error's text in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
