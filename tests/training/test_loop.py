"""The training loop: resuming, accumulation, clipping, precision, several ranks, and errors."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_task import TinyTask, train, weights_of
from torch import Tensor
from torch.overrides import _get_current_function_mode_stack

from tag2mask.errors import DeviceError, Tag2MaskError
from tag2mask.nn.repeatable_resize import BilinearByMatrices
from tag2mask.runtime.session import Runtime
from tag2mask.training import loop as fit_module
from tag2mask.training.optim import schedule


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e6])
def test_resumed_training_equals_an_uninterrupted_one(
    tmp_path: Path, runtime: Runtime, optimizer: str, checkpoint_seconds: float
) -> None:
    settings = {
        "optimizer": optimizer,
        "accumulate": 2,
        "clip_norm": 1.0,
        "warmup_steps": 2,
        "ema": 0.5 if optimizer == "adamw" else 0.0,
    }
    straight = TinyTask()
    train(straight, tmp_path / "straight", runtime, **settings)
    for stop in (2, 5):
        interrupted_task = TinyTask()
        interrupted_task.stop_after = stop
        with pytest.raises(KeyboardInterrupt):
            train(
                interrupted_task,
                tmp_path / "cut",
                runtime,
                checkpoint_seconds=checkpoint_seconds,
                **settings,
            )
    resumed = TinyTask()
    train(resumed, tmp_path / "cut", runtime, **settings)
    # The interrupted step is repeated; without a checkpoint all steps are.
    assert resumed.finished[0] == (5 if checkpoint_seconds == 0 else 1)
    expected = weights_of(straight)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(resumed).items())
    logged, uninterrupted = rows(tmp_path / "cut"), rows(tmp_path / "straight")
    assert [row["step"] for row in logged] == [str(step) for step in range(1, 7)]
    for row, other in zip(logged, uninterrupted, strict=True):
        assert {k: v for k, v in row.items() if k != "photos_per_second"} == {
            k: v for k, v in other.items() if k != "photos_per_second"
        }


def test_interruption_within_a_step_keeps_the_last_checkpoint(
    tmp_path: Path, runtime: Runtime
) -> None:
    task = TinyTask()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    train(task, tmp_path, runtime, steps=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    again = TinyTask()
    again.net.head.register_full_backward_hook(interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(again, tmp_path, runtime, steps=4)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_finished_training_is_not_repeated(tmp_path: Path, runtime: Runtime) -> None:
    first, second = TinyTask(), TinyTask()
    summary = train(first, tmp_path, runtime)
    second_summary = train(second, tmp_path, runtime)
    assert second.finished == []
    assert second_summary.keys() == summary.keys()
    assert second_summary["loss"] == pytest.approx(summary["loss"], rel=1e-4)
    expected = weights_of(first)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(second).items())


def test_accumulated_gradients_are_the_mean_over_the_batches(
    tmp_path: Path, runtime: Runtime
) -> None:
    task = TinyTask(dropout=0.0)
    start = weights_of(task)
    train(task, tmp_path, runtime, steps=1, accumulate=2, optimizer="sgd", schedule="constant")
    by_hand = TinyTask(dropout=0.0)
    total = torch.zeros(())
    for batch in by_hand.batches(0, 2):
        terms = by_hand.module(*by_hand.inputs(batch, 0, torch.device("cpu")))
        weights = by_hand.weights(0)
        total = total + sum(terms[name].value * weights[name] for name in terms) / 2
    total.backward()
    name, decay, lr = "net.backbone.last.weight", 0.01, 0.01
    gradient = dict(by_hand.module.named_parameters())[name].grad
    assert gradient is not None
    expected = start[name] - lr * (gradient + decay * start[name])
    torch.testing.assert_close(task.module.state_dict()[name], expected)
    assert float(rows(tmp_path)[0]["loss"]) == pytest.approx(total.item(), rel=1e-5)


def test_every_batch_has_a_dropout_of_its_own(tmp_path: Path, runtime: Runtime) -> None:
    dropped: list[tuple[bool, ...]] = []

    def note(_: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        alive = inputs[0].abs().sum(dim=(2, 3)) > 0
        dropped.append(tuple((alive & (output.abs().sum(dim=(2, 3)) == 0)).flatten().tolist()))

    task = TinyTask(dropout=0.5)
    task.net.dropout.register_forward_hook(note)
    # The same photos each time: only the dropout differs.
    task.batches = lambda start, stop: (  # type: ignore[method-assign]
        next(TinyTask().batches(0, 1)) for _ in range(start, stop)
    )
    train(task, tmp_path, runtime, steps=3, accumulate=2)
    assert len(dropped) == 3 * 2 * 2  # two views
    assert len(set(dropped)) == len(dropped)


def test_the_moving_average_becomes_the_model(tmp_path: Path, runtime: Runtime) -> None:
    decay, name = 0.8, "net.head.weight"
    plain = TinyTask(dropout=0.0)
    history: list[Tensor] = []

    def note(step: int, module: torch.nn.Module) -> None:
        history.append(module.state_dict()[name].clone())

    plain.on_step_end = note  # type: ignore[method-assign]
    train(plain, tmp_path / "plain", runtime)
    expected = history[0]
    for weights in history[1:]:
        expected = decay * expected + (1 - decay) * weights
    averaged = TinyTask(dropout=0.0)
    for _ in range(2):  # the second time from the checkpoint of the finished training
        train(averaged, tmp_path / "averaged", runtime, ema=decay)
        torch.testing.assert_close(averaged.module.state_dict()[name], expected)
    assert not torch.allclose(expected, history[-1], atol=1e-4)


def test_only_forward_and_backward_use_resizing_by_matrices(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: forward and backward pass, but not loading photos or validation."""
    plain, resizing = TinyTask(dropout=0.0), TinyTask(dropout=0.0)
    train(plain, tmp_path / "plain", runtime)
    own_batches, own_inputs, own_after = resizing.batches, resizing.inputs, resizing.on_step_end
    seen: set[tuple[str, bool]] = set()

    def note(name: str) -> None:
        seen.add(
            (
                name,
                any(
                    isinstance(mode, BilinearByMatrices)
                    for mode in _get_current_function_mode_stack()
                ),
            )
        )

    def batches(start: int, stop: int) -> Iterator[Any]:
        for batch in own_batches(start, stop):
            note("batches")
            yield batch

    def inputs(*given: Any) -> Any:
        note("inputs")
        return own_inputs(*given)

    def on_step_end(*given: Any) -> None:
        note("on_step_end")
        own_after(*given)

    for name, function in (("batches", batches), ("inputs", inputs), ("on_step_end", on_step_end)):
        monkeypatch.setattr(resizing, name, function)
    monkeypatch.setattr(fit_module, "repeatable_resizing", BilinearByMatrices)
    train(resizing, tmp_path / "resizing", runtime)
    assert set(seen) == {("batches", False), ("inputs", True), ("on_step_end", False)}
    for name, expected in weights_of(plain).items():
        torch.testing.assert_close(weights_of(resizing)[name], expected, atol=1e-4, rtol=1e-3)


def test_clipping_limits_a_step(tmp_path: Path, runtime: Runtime) -> None:
    lengths = {}
    for clip in (None, 1e-3):
        task = TinyTask(dropout=0.0)
        start = weights_of(task)
        train(
            task,
            tmp_path / str(clip),
            runtime,
            steps=1,
            optimizer="sgd",
            clip_norm=clip,
            schedule="constant",
        )
        name = "net.head.weight"  # twice the learning rate .01; decay .01
        moved = task.module.state_dict()[name] - start[name] * (1 - 0.02 * 0.01)
        lengths[clip] = moved.norm().item()
    assert 0 < lengths[1e-3] <= 0.02 * 1e-3 * 1.01 < lengths[None]


def test_log_has_terms_throughput_and_schedule(tmp_path: Path, runtime: Runtime) -> None:
    summary = train(TinyTask(), tmp_path, runtime, warmup_steps=3, log_every=2, schedule="cosine")
    logged = rows(tmp_path)
    assert [row["step"] for row in logged] == ["2", "4", "6"]
    for row in logged:
        # The first group holds the pretrained weights: base rate .01.
        expected = 0.01 * schedule(int(row["step"]) - 1, 6, kind="cosine", warmup=3)
        assert float(row["lr"]) == pytest.approx(expected, rel=1e-4)
        terms = {k: float(row[k]) for k in ("cls1", "cls2", "min1", "min2", "er", "ecr1", "ecr2")}
        assert all(value > 0 for value in terms.values())
        assert float(row["photos_per_second"]) > 0
    assert summary["loss"] == pytest.approx(float(logged[-1]["loss"]), abs=1e-5)
    assert list((tmp_path / "tensorboard").iterdir())


def test_training_lowers_the_loss(tmp_path: Path, runtime: Runtime) -> None:
    train(TinyTask(dropout=0.0), tmp_path, runtime, steps=30)
    losses = [float(row["loss"]) for row in rows(tmp_path)]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_nan_loss(tmp_path: Path, runtime: Runtime) -> None:
    task = TinyTask()
    task.spoil_at = 3
    with pytest.raises(
        Tag2MaskError,
        match=(r"loss became nan at step 4\. Start again .* a lower tiny\.optimizer\.lr or tiny"),
    ):
        train(task, tmp_path, runtime, checkpoint_seconds=0.0)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 3
    assert all(tensor.isfinite().all() for tensor in kept["model"].values())


def test_device_out_of_memory(tmp_path: Path, runtime: Runtime) -> None:
    task = TinyTask()

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    task.net.head.register_forward_hook(fail)
    with pytest.raises(DeviceError, match=r"ran out of memory\. Lower tiny\.batch"):
        train(task, tmp_path, runtime)


def test_device_out_of_memory_in_setup(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Runtime, "setup", fail)
    with pytest.raises(DeviceError, match=r"ran out of memory\. Lower tiny\.batch"):
        train(TinyTask(), tmp_path, runtime)


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # of the tests' helpers
    for devices in (1, 2):
        script = [
            sys.executable,
            Path(__file__).with_name("tiny_task.py"),
            tmp_path / str(devices),
            str(devices),
        ]
        (tmp_path / str(devices)).mkdir()
        subprocess.run(script, check=True, capture_output=True, timeout=900, env=environment)
    logged = [rows(tmp_path / str(devices)) for devices in (1, 2)]
    for one, two in zip(*logged, strict=True):
        shown = {name for name, value in one.items() if value} - {"photos_per_second"}
        assert shown >= {"loss", "cls1", "cls2", "min1", "min2", "er", "ecr1", "ecr2"}
        for term in shown:
            assert float(two[term]) == pytest.approx(float(one[term]), abs=1e-5), term
    one, two = (torch.load(tmp_path / str(d) / "weights.pt", weights_only=True) for d in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-4, msg=name)
