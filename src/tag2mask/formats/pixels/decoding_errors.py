"""Errors that Pillow raises on damaged files.

They have a module of their own: photos are decoded for training, where no reader of masks may be
imported.
"""

from __future__ import annotations

import struct
import zlib

from PIL import Image

PILLOW_ERRORS = (
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
