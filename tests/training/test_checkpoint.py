"""Checkpoints that are damaged or of another training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_task import TinyTask, train

from tag2mask.errors import WeightsError
from tag2mask.runtime.session import Runtime


def test_checkpoint_of_another_network(tmp_path: Path, runtime: Runtime) -> None:
    train(TinyTask(classes=3), tmp_path, runtime, steps=1)
    with pytest.raises(WeightsError, match=r"another network.*net\.head\.weight.*checkpoint\.pt"):
        train(TinyTask(classes=5), tmp_path, runtime)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_truncated_checkpoint(tmp_path: Path, runtime: Runtime, keep: float) -> None:
    train(TinyTask(), tmp_path, runtime, steps=1)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(WeightsError, match=r"checkpoint\.pt.*Delete it"):
        train(TinyTask(), tmp_path, runtime)


@pytest.mark.parametrize("state", [{}, {"model": 3}, torch.zeros(2), {"model": {}, "step": 1}])
def test_checkpoint_of_another_kind(tmp_path: Path, runtime: Runtime, state: object) -> None:
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match=r"checkpoint\.pt.*Delete it"):
        train(TinyTask(), tmp_path, runtime)
