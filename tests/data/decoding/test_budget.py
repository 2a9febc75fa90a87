"""Threads that decode images share a limit of pixels."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tag2mask.data.decoding.budget import PixelBudget

pytestmark = pytest.mark.smoke


def most_at_once(budget: PixelBudget, sizes: list[int]) -> tuple[int, int]:
    """Hold the shares of all sizes in a thread each; return the most pixels and images at once."""
    lock = threading.Lock()
    now: list[int] = []
    most = [0, 0]

    def decode(pixels: int) -> None:
        with budget.share(pixels):
            with lock:
                now.append(pixels)
                most[:] = [max(most[0], sum(now)), max(most[1], len(now))]
            time.sleep(0.01)
            with lock:
                now.remove(pixels)

    threads = [threading.Thread(target=decode, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    return most[0], most[1]


def test_images_are_decoded_side_by_side_while_they_fit() -> None:
    pixels, images = most_at_once(PixelBudget(100), [30] * 12)
    assert pixels <= 100 and images == 3


def test_an_image_above_the_limit_is_decoded_alone() -> None:
    pixels, images = most_at_once(PixelBudget(100), [5000, 4000, 3000])
    assert (pixels, images) == (5000, 1)
    most_at_once(PixelBudget(100), [30, 5000, 30, 100, 4000, 1] * 3)  # none waits forever


def test_an_error_gives_the_share_back() -> None:
    budget = PixelBudget(100)
    with pytest.raises(ValueError, match="damaged"), budget.share(100):
        raise ValueError("damaged")
    assert most_at_once(budget, [100]) == (100, 1)


def test_a_forked_process_starts_with_the_complete_budget() -> None:
    """Its copy of a share would be held forever."""
    from tag2mask.data.decoding.budget import DECODING

    with DECODING.share(DECODING.pixels):
        child = os.fork()
        if not child:
            threading.Timer(5, os._exit, (1,)).start()
            with DECODING.share(1):
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
