"""Read photo files: upright 8-bit RGB, and sizes from the header alone.

Training, inference and evaluation all read photos here, so they see the same pixels:

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

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from tag2mask.data.decoding.budget import DECODING
from tag2mask.data.decoding.frames import has_more_images
from tag2mask.data.decoding.orientation import exif_orientation, stored_layout, turned, upright
from tag2mask.data.decoding.rgb import to_rgb
from tag2mask.data.decoding.strips import strips
from tag2mask.formats.pixels.opening import Source, load_pixels, opened_image


def read_image(source: Source, *, at_least: int | None = None) -> Image.Image:
    """Read a photo as upright RGB.

    Args:
        source: a file of any mode, in one of the formats of `PHOTO_SUFFIXES`.
        at_least: the long side that the caller needs, px. A JPEG is then decoded at 1/2, 1/4 or
            1/8 of its size if its long side remains at least this long, which is several times
            faster for large photos. The result may be larger; it is never enlarged.

    Returns:
        An image of mode RGB with the orientation applied.

    Raises:
        DataError: the file is missing, no photo, damaged, or has too many pixels.
        DeviceError: out of memory.
    """
    assert at_least is None or at_least >= 1
    with opened_image(source, "photo") as image:
        return _decoded(image, at_least)


def _decoded(image: ImageFile, at_least: int | None) -> Image.Image:
    """Decode an opened photo, as `read_image` does."""
    pixels = image.width * image.height
    if at_least is not None and image.format in ("JPEG", "MPO"):
        # draft() keeps both sides at least as long as given; only the long one matters.
        wide = image.width >= image.height
        image.draft(None, (at_least, 1) if wide else (1, at_least))
    orientation = exif_orientation(image)
    with DECODING.share(pixels):
        load_pixels(image)
        return turned(to_rgb(image), orientation)


def image_size(source: Source) -> tuple[int, int]:
    """Return the upright size of a photo from its header, without decoding the pixels.

    Args:
        source: as for `read_image`.

    Returns:
        ``(h, w)`` in px, the size of ``read_image(source)``.

    Raises:
        DataError: the file is missing or has no photo's header. Only `read_image` finds a photo
            that is cut off after its header.
    """
    return upright(*stored_layout_of(source))


def decoded_size(source: Source) -> tuple[int, int]:
    """Return the upright size of a photo after reading all of its file.

    Raises:
        DataError, DeviceError: as `read_image`.
    """
    with opened_image(source, "photo") as image:
        size = upright(*stored_layout(image))
        _decoded(image, at_least=1)  # a JPEG is decoded at a small size, but all of it is read
        return size


def stored_layout_of(source: Source) -> tuple[tuple[int, int], int]:
    """Return the size (h, w) of a photo's stored pixels, and its EXIF orientation 1..8.

    Raises:
        DataError: as `image_size`.
    """
    with opened_image(source, "photo") as image:
        return stored_layout(image)


def used_bits(source: Source) -> int | None:
    """Return how many bits the largest value of a 16-bit photo takes; None for other photos.

    Raises:
        DataError: as `read_image`.
        DeviceError: out of memory.
    """
    with opened_image(source, "photo") as image:
        if not image.tile or ";16" not in str(image.tile[0][3]):  # the layout of stored pixels
            return None
        with DECODING.share(image.width * image.height):
            load_pixels(image)
            highest = max(int(np.asarray(part).max()) for _, part in strips(image))
    # Pillow keeps the upper byte of 16-bit colors.
    return (highest if image.mode.startswith("I") else highest << 8 | 255).bit_length()


def unread_parts(source: Source) -> str:
    """Return which part of a photo is not read; empty: none.

    Returns:
        ``several images``, of which only the first is read, or ``transparent`` where every pixel
        is, so that all are read as white.

    Raises:
        DataError: as `read_image`.
        DeviceError: out of memory.
    """
    with opened_image(source, "photo") as image:
        if has_more_images(image):
            return "several images"
        if "A" not in image.getbands():
            return ""
        with DECODING.share(image.width * image.height):
            load_pixels(image)
            opacity = image.getchannel("A").getextrema()
    return "transparent" if opacity == (0, 0) else ""
