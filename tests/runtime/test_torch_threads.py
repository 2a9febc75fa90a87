"""Shares of torch's CPU threads, and their number in a process alone."""

from __future__ import annotations

import threading

import pytest
import torch

from tag2mask.runtime.threads import processors
from tag2mask.runtime.torch_threads import set_up_torch, share_of_threads


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
