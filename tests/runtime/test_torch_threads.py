"""Shares of torch's CPU threads, and their number in a process alone."""

from __future__ import annotations

import threading

import pytest
import torch

from tag2mask.runtime.threads import processors
from tag2mask.runtime.torch_threads import set_up_torch, share_of_threads, small_first_map


def test_a_share_of_the_threads_applies_in_a_new_thread() -> None:
    """A new torch thread uses the number of threads that any other thread set last."""
    before, inside, changed = torch.get_num_threads(), threading.Event(), threading.Event()
    found: list[int] = []

    def caller() -> None:
        with share_of_threads(4, 2):
            inside.set()
            changed.wait(10)
            found.append(torch.get_num_threads())
        found.append(torch.get_num_threads())

    try:
        thread = threading.Thread(target=caller)
        thread.start()
        inside.wait(10)
        torch.set_num_threads(3)
        changed.set()
        thread.join()
        assert found == [2, 4]
    finally:
        torch.set_num_threads(before)


def test_threads_of_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as asked for, else those of the environment, else one per core."""
    before = torch.get_num_threads()
    try:
        set_up_torch(3)
        assert torch.get_num_threads() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        set_up_torch(0)
        assert torch.get_num_threads() == 3
        monkeypatch.delenv("OMP_NUM_THREADS")
        set_up_torch(0)
        assert torch.get_num_threads() == processors()
    finally:
        torch.set_num_threads(before)


def test_small_items_share_the_threads_and_large_ones_get_all() -> None:
    before = torch.get_num_threads()
    caller = threading.get_ident()

    def work(item: int) -> tuple[int, bool]:
        return torch.get_num_threads(), threading.get_ident() == caller

    try:
        torch.set_num_threads(4)
        found = list(small_first_map(work, [10, 1, 20, 2, 3], lambda item: item < 10))
        assert [item for item, _ in found] == [1, 2, 3, 10, 20]
        assert [result for _, result in found] == [(1, False)] * 3 + [(4, True)] * 2
        # A single small item has no other beside it.
        assert list(small_first_map(work, [1], lambda _: True)) == [(1, (4, False))]
        assert list(small_first_map(work, [], lambda _: True)) == []
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
