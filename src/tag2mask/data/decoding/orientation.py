"""The orientation of a photo in its EXIF data, which every viewer applies."""

from __future__ import annotations

from PIL import Image, TiffImagePlugin

from tag2mask.formats.pixels.opening import DECODE_ERRORS

_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def exif_orientation(image: Image.Image) -> int:
    """Return the orientation 1..8 before decoding; 1 where it is missing or damaged.

    Pillow itself rotates a TIFF while loading, so a TIFF counts as upright here.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1
    try:
        # Not image.getexif(): for a PNG it decodes all pixels to find a record after them.
        value = Image.Image.getexif(image).get(_TAG, 1)
        return int(value)
    except DECODE_ERRORS:
        return 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return the pixels of an orientation turned upright."""
    transpose = _TRANSPOSE.get(orientation)
    return image if transpose is None else image.transpose(transpose)


def stored_layout(image: Image.Image) -> tuple[tuple[int, int], int]:
    """Return the stored size (h, w) and the orientation of an opened image, from its header."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Depending on its version, Pillow reports the rotated or the stored size of a TIFF.
        size = int(image.tag_v2[257]), int(image.tag_v2[256])
        return size, int(image.tag_v2.get(_TAG, 1))
    return (image.height, image.width), exif_orientation(image)


def upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the size (h, w) after `turned`."""
    return (size[1], size[0]) if orientation in (5, 6, 7, 8) else size
