"""A limit on the pixels that all threads of a process decode at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Lets threads decode images side by side while they fit, and a larger one alone.

    Args:
        pixels: the most pixels at once, by the sizes in the images' headers.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.reset()

    def reset(self) -> None:
        """Forget the images in progress: their threads don't exist in a forked process."""
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self, pixels: int) -> Iterator[None]:
        """Wait until an image of this many pixels fits, and hold its share during the block."""
        pixels = min(pixels, self.pixels)
        with self._changed:
            self._changed.wait_for(lambda: self._used + pixels <= self.pixels)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()


DECODING = PixelBudget(200_000_000)
"""For photos and masks: decoding takes 4 to 12 bytes per pixel, WebP 16."""
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=DECODING.reset)
