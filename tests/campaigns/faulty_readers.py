"""Readers with a fault each, to test that the fuzzer finds it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from campaigns.fuzz_target import Target
from tag2mask.errors import DataError

_VALID = b"valid text, 1 2 3"


def _write(folder: Path) -> list[Path]:
    (folder / "a.txt").write_bytes(_VALID)
    return [folder / "a.txt"]


def _raise(file: Path) -> None:
    if file.read_bytes() != _VALID:
        raise ValueError("a bare error")


def _abort(file: Path) -> None:
    if file.read_bytes() != _VALID:
        os.abort()


def _wait(file: Path) -> None:
    if file.read_bytes() != _VALID:
        time.sleep(60)


def _fill_memory(file: Path) -> None:
    if file.read_bytes() != _VALID:
        np.ones(150 << 20, np.uint8)


def _tell_all(file: Path) -> None:
    if file.read_bytes() != _VALID:
        error = DataError("damaged")
        error.args = ("x" * 30_000,)
        raise error


def _refuse(file: Path) -> None:
    if file.read_bytes() != _VALID:
        raise DataError("damaged")


TARGETS = (
    Target("raises", _write, _raise),
    Target("crashes", _write, _abort),
    Target("never ends", _write, _wait, share=0.5),
    Target("fills the memory", _write, _fill_memory),
    Target("tells all", _write, _tell_all),
    Target("is right", _write, _refuse),
)
