"""Photos and masks in all formats that Pillow writes, whatever their suffix says."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from campaigns.fuzz_target import Target
from tag2mask.classes import ClassSet
from tag2mask.data.images import image_size, read_image
from tag2mask.data.masks import read_mask, read_mask_content, values_in
from tag2mask.formats.pixels.palette_image import palette_image

_CLASSES = ClassSet(("a", "b", "c"))
_SIZE = (24, 20)
_SAVED = (
    *(("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "1"), ("PNG", "L"), ("PNG", "P")),
    *(
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "LA"),
        ("PNG", "I;16"),
        ("GIF", "P"),
        ("BMP", "RGB"),
    ),
    *(("BMP", "P"), ("TIFF", "RGB"), ("TIFF", "I;16"), ("TIFF", "F"), ("TIFF", "CMYK")),
    *(("TIFF", "LAB"), ("WEBP", "RGB"), ("WEBP", "RGBA"), ("PPM", "RGB"), ("PPM", "L")),
    *(("PPM", "1"), ("AVIF", "RGB"), ("DDS", "RGB"), ("DDS", "RGBA"), ("TGA", "RGB")),
    *(("SGI", "RGB"), ("PCX", "RGB"), ("PCX", "P"), ("JPEG2000", "RGB"), ("IM", "L")),
    *(("ICO", "RGBA"), ("ICNS", "RGBA"), ("MSP", "1"), ("XBM", "1"), ("SPIDER", "F")),
    *(("BLP", "P"), ("EPS", "RGB"), ("MPO", "RGB"), ("QOI", "RGB"), ("PCD", "RGB")),
)
_COMPRESSIONS = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4", "tiff_raw_16")
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp"}
_TOKENS = (
    *(
        b"DXT1",
        b"DXT3",
        b"DXT5",
        b"DX10",
        b"ATI2",
        b"BC7S",
        b"\0\0\x40\0",
        b"IHDR",
        b"PLTE",
        b"tRNS",
        b"IDAT",
    ),
    *(b"eXIf", b"acTL", b"fcTL", b"iCCP", b"zTXt", b"iTXt", b"Exif\0\0II*\0", b"MM\0*", b"II+\0"),
    *(
        b"\xff\xd8",
        b"\xff\xc0",
        b"\xff\xc2",
        b"\xff\xda",
        b"\xff\xd9",
        b"\xff\xe1",
        b"\xff\xe2MPF\0",
    ),
    *(b"ANIM", b"VP8X", b"VP8L", b"ftypavif", b"P5\n999999 999999\n255\n", b"%!PS-Adobe-3.0"),
)


def _picture(mode: str) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (*_SIZE, 3), np.uint8)
    if mode.startswith("I;16"):
        return Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    return Image.fromarray(values).convert(mode)


def _saved() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file that this build of Pillow can write."""
    for form, mode in _SAVED:
        yield from _one(f"{form}-{mode.replace(';', '')}", _picture(mode), form)
    for name in _COMPRESSIONS:
        mode = "1" if name == "group4" else "RGB"
        yield from _one(f"TIFF-{name}", _picture(mode), "TIFF", compression=name)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 20
    for form in ("JPEG", "PNG", "TIFF", "WEBP"):
        yield from _one(f"{form}-turned", _picture("RGB"), form, exif=exif)
    frames = [_picture("P"), _picture("P").rotate(90)]
    for form in ("GIF", "TIFF", "PNG", "WEBP"):
        yield from _one(f"{form}-frames", frames[0], form, save_all=True, append_images=frames[1:])


def _one(
    name: str, picture: Image.Image, form: str, **options: object
) -> Iterator[tuple[str, bytes]]:
    stream = io.BytesIO()
    try:
        picture.save(stream, form, **options)
    except (KeyError, OSError, ValueError):
        return  # this build of Pillow can't write it
    yield name, stream.getvalue()


def _write_photos(folder: Path) -> list[Path]:
    files = []
    for name, content in _saved():
        files.append(folder / f"{name}{_SUFFIXES.get(name.split('-')[0], '.png')}")
        files[-1].write_bytes(content)
    return files


def _read_photo(file: Path) -> None:
    try:
        image_size(file)
    finally:
        read_image(file, at_least=8).load()


def _write_masks(folder: Path) -> list[Path]:
    mask = np.random.default_rng(0).integers(0, 4, _SIZE, np.uint8)
    mask[0] = 255
    files = []
    for name, picture, options in (
        ("palette.png", palette_image(mask, _CLASSES.colors), {}),
        ("gray.png", Image.fromarray(mask), {}),
        ("two.png", Image.fromarray(mask == 1), {}),
        ("sixteen.png", Image.fromarray(mask.astype(np.uint16)), {}),
        ("gray.tif", Image.fromarray(mask), {}),
        ("lzw.tif", Image.fromarray(mask), {"compression": "tiff_lzw"}),
        ("gray.bmp", Image.fromarray(mask), {}),
        ("palette.gif", palette_image(mask, _CLASSES.colors), {}),
    ):
        files.append(folder / name)
        picture.save(files[-1], **options)
    return files


def _read_mask(file: Path) -> None:
    mask = read_mask(file, len(_CLASSES))
    content = read_mask_content(file, len(_CLASSES))
    assert content.size == mask.shape and content.values == values_in(mask)


def _with_checksums(png: bytes) -> bytes:
    """Return a damaged PNG whose chunks have right checksums, so that they are decoded."""
    fixed, at = bytearray(png), 8
    while at + 12 <= len(fixed):
        length = struct.unpack_from(">I", fixed, at)[0]
        end = at + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def _read_repaired(file: Path) -> None:
    file.write_bytes(_with_checksums(file.read_bytes()))
    try:
        _read_mask(file)
    finally:
        _read_photo(file)


def _write_png(folder: Path) -> list[Path]:
    return [
        file
        for file in (*_write_masks(folder), *_write_photos(folder))
        if file.read_bytes().startswith(b"\x89PNG")
    ]


TARGETS = (
    Target("photo", _write_photos, _read_photo, _TOKENS, share=2.0),
    Target("mask", _write_masks, _read_mask, _TOKENS),
    Target("PNG with right checksums", _write_png, _read_repaired, _TOKENS),
)
