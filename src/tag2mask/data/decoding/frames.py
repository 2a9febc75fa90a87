"""Files with several images: animations, and pages of a TIFF."""

from __future__ import annotations

from PIL.ImageFile import ImageFile

_FORMATS = frozenset({"GIF", "PNG", "TIFF", "WEBP"})
"""A phone's JPEG may hold other images, too: depth or brightness of the same photo."""


def has_more_images(image: ImageFile) -> bool:
    """Return whether an opened file has a second image as large as the first.

    Smaller ones are thumbnails or the levels of a pyramid.
    """
    if image.format not in _FORMATS or not getattr(image, "is_animated", False):
        return False
    size = image.size
    image.seek(1)
    found = image.size == size
    image.seek(0)
    return found
