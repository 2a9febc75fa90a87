"""Training in half precision: overflows, the gradient scaler, and resuming."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tiny_task import OBJECTIVE, TinyTask, train, weights_of

from tag2mask.errors import Tag2MaskError
from tag2mask.runtime.session import Runtime
from tag2mask.training import loop as fit_module


@pytest.fixture
def small_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale gradients by 16 instead of 65536, at which those of small networks overflow."""
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=16.0))


@pytest.mark.usefixtures("small_scale")
def test_half_precision_skips_steps_that_overflow(tmp_path: Path, runtime: Runtime) -> None:
    task = TinyTask(dropout=0.0, overflow_at=2)
    task.spoil_at = 4  # and a loss of NaN
    history = [weights_of(task)]
    task.on_step_end = lambda *_: history.append(weights_of(task))  # type: ignore[method-assign]
    train(task, tmp_path, runtime, precision="16")
    moved = [
        not all(torch.equal(before[name], after[name]) for name in before)
        for before, after in pairwise(history)
    ]
    assert moved == [True, True, False, True, False, True]
    assert all(tensor.isfinite().all() for tensor in history[-1].values())
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["scaler"]["scale"] == 16 / 2**2


@pytest.mark.usefixtures("small_scale")
@pytest.mark.parametrize("clip_norm", [None, 0.001])
def test_half_precision_step_equals_float32(
    tmp_path: Path, runtime: Runtime, clip_norm: float | None
) -> None:
    # All values count in ECR: a selection of the largest would differ where values are rounded.
    every = replace(OBJECTIVE, ecr_top=1.0)
    moved = {}
    for precision in ("32", "16"):
        task = TinyTask(dropout=0.0, objective=every)
        start = weights_of(task)
        settings = {"precision": precision, "steps": 1, "clip_norm": clip_norm}
        train(task, tmp_path / precision, runtime, optimizer="sgd", **settings)
        moved[precision] = {name: w - start[name] for name, w in weights_of(task).items()}
    for name, expected in moved["32"].items():
        found = moved["16"][name]
        assert (found - expected).norm() <= 0.01 * expected.norm(), name
    assert sum(bool(expected.any()) for expected in moved["32"].values()) == 6
    assert any(not torch.equal(moved["16"][name], w) for name, w in moved["32"].items())


@pytest.mark.usefixtures("small_scale")
def test_half_precision_resumes_the_scale(tmp_path: Path, runtime: Runtime) -> None:
    straight, interrupted_task, resumed = (TinyTask(overflow_at=1) for _ in range(3))
    train(straight, tmp_path / "straight", runtime, precision="16")
    interrupted_task.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        train(interrupted_task, tmp_path / "cut", runtime, precision="16", checkpoint_seconds=0.0)
    train(resumed, tmp_path / "cut", runtime, precision="16")
    assert resumed.finished == [4, 5, 6]
    expected = weights_of(straight)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(resumed).items())
    for name in ("straight", "cut"):
        kept = torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["scaler"]
        assert (kept["scale"], kept["_growth_tracker"]) == (8.0, 4)


def test_half_precision_fails_after_repeated_non_finite_losses(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "PATIENCE", 3)
    task = TinyTask()
    task.inputs = (
        lambda *given: (  # type: ignore[method-assign]
            TinyTask.inputs(task, *given)[0] * float("nan"),
            *TinyTask.inputs(task, *given)[1:],
        )
    )
    with pytest.raises(Tag2MaskError, match="loss became nan at step 4"):
        train(task, tmp_path, runtime, precision="16")
