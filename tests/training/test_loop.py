"""The training loop: resuming, accumulation, clipping, precision, several ranks, and errors."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_task import TinyTask, train
from torch import Tensor
from torch.overrides import _get_current_function_mode_stack

from tag2mask.errors import DeviceError, Tag2MaskError, WeightsError
from tag2mask.nn.repeatable_resize import BilinearByMatrices
from tag2mask.runtime.session import Runtime
from tag2mask.training import loop as fit_module
from tag2mask.training.loop import epochs_to_steps
from tag2mask.training.optim import schedule


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime.start(device="cpu", workers=0, threads=1)


def weights_of(task: TinyTask) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in task.module.state_dict().items()}


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
    wanted = weights_of(straight)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in weights_of(resumed).items())
    logged, uninterrupted = rows(tmp_path / "cut"), rows(tmp_path / "straight")
    assert [row["step"] for row in logged] == [str(step) for step in range(6)]
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
    wanted = weights_of(first)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in weights_of(second).items())


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
    wanted = start[name] - lr * (gradient + decay * start[name])
    torch.testing.assert_close(task.module.state_dict()[name], wanted)
    assert float(rows(tmp_path)[0]["loss"]) == pytest.approx(total.item(), rel=1e-5)


def test_the_moving_average_becomes_the_model(tmp_path: Path, runtime: Runtime) -> None:
    decay, name = 0.8, "net.head.weight"
    plain = TinyTask(dropout=0.0)
    history: list[Tensor] = []

    def note(step: int, module: torch.nn.Module) -> None:
        history.append(module.state_dict()[name].clone())

    plain.on_step_end = note  # type: ignore[method-assign]
    train(plain, tmp_path / "plain", runtime)
    wanted = history[0]
    for weights in history[1:]:
        wanted = decay * wanted + (1 - decay) * weights
    averaged = TinyTask(dropout=0.0)
    for _ in range(2):  # the second time from the checkpoint of the finished training
        train(averaged, tmp_path / "averaged", runtime, ema=decay)
        torch.testing.assert_close(averaged.module.state_dict()[name], wanted)
    assert not torch.allclose(wanted, history[-1], atol=1e-4)


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
def test_half_precision_step_equals_float32(tmp_path: Path, runtime: Runtime) -> None:
    moved = {}
    for precision in ("32", "16"):
        task = TinyTask(dropout=0.0)
        start = weights_of(task)
        train(task, tmp_path / precision, runtime, precision=precision, steps=1, optimizer="sgd")
        moved[precision] = {name: w - start[name] for name, w in weights_of(task).items()}
    for name, wanted in moved["32"].items():
        found = moved["16"][name]
        # In half precision more values are equal at the threshold of ECR's and min-pooling's
        # selection; they then share the gradient.
        share = 0.1 if ".pcm." in name else 0.05
        assert (found - wanted).norm() <= share * wanted.norm() + 1e-6, name
    assert any(not torch.equal(moved["16"][name], w) for name, w in moved["32"].items())


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
    for name, wanted in weights_of(plain).items():
        torch.testing.assert_close(weights_of(resizing)[name], wanted, atol=1e-4, rtol=1e-3)


@pytest.mark.usefixtures("small_scale")
def test_half_precision_resumes_the_scale(tmp_path: Path, runtime: Runtime) -> None:
    straight, interrupted_task, resumed = (TinyTask(overflow_at=1) for _ in range(3))
    train(straight, tmp_path / "straight", runtime, precision="16")
    interrupted_task.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        train(interrupted_task, tmp_path / "cut", runtime, precision="16", checkpoint_seconds=0.0)
    train(resumed, tmp_path / "cut", runtime, precision="16")
    assert resumed.finished == [4, 5, 6]
    wanted = weights_of(straight)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in weights_of(resumed).items())
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
    with pytest.raises(Tag2MaskError, match="loss became nan at step 3"):
        train(task, tmp_path, runtime, precision="16")


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
    assert [row["step"] for row in logged] == ["1", "3", "5"]
    for row in logged:
        # The first group holds the pretrained weights: base rate .01.
        wanted = 0.01 * schedule(int(row["step"]), 6, kind="cosine", warmup=3)
        assert float(row["lr"]) == pytest.approx(wanted, rel=1e-4)
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
        match=(r"loss became nan at step 3\. Start again .* a lower tiny\.optimizer\.lr or tiny"),
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


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(tmp_path: Path) -> None:
    for devices in (1, 2):
        script = [
            sys.executable,
            Path(__file__).with_name("tiny_task.py"),
            tmp_path / str(devices),
            str(devices),
        ]
        (tmp_path / str(devices)).mkdir()
        subprocess.run(script, check=True, capture_output=True, timeout=900)
    logged = [rows(tmp_path / str(devices)) for devices in (1, 2)]
    for one, two in zip(*logged, strict=True):
        shown = {name for name, value in one.items() if value} - {"photos_per_second"}
        assert shown >= {"loss", "cls1", "cls2", "min1", "min2", "er", "ecr1", "ecr2"}
        for term in shown:
            assert float(two[term]) == pytest.approx(float(one[term]), abs=1e-5), term
    one, two = (torch.load(tmp_path / str(d) / "weights.pt", weights_only=True) for d in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-4, msg=name)


def test_epochs_to_steps() -> None:
    assert epochs_to_steps(5, 100, 1, None) == 500
    assert epochs_to_steps(5, 100, 4, None) == 125
    assert epochs_to_steps(5, 100, 1, 30) == 30
    assert epochs_to_steps(1, 1, 4, None) == 1
