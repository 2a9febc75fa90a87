"""The training loop, shared by all networks and resumable with bit-identical results.

No random state outlives a step: dropout and the view transform are drawn from (seed, step, rank),
photos and crops from (seed, epoch, index). So a checkpoint needs only weights, optimizer state and
the step number, and a training that is killed and resumed ends with the same weights, bit for bit,
on the same CPU. An interrupted step saves nothing, because its weights may be half updated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tag2mask.errors import Tag2MaskError
from tag2mask.nn.mean import Mean
from tag2mask.nn.repeatable_resize import repeatable_resizing
from tag2mask.runtime.memory import explain_out_of_memory
from tag2mask.runtime.precision import Precision, resolve_precision
from tag2mask.runtime.session import Runtime
from tag2mask.training.checkpoint import CHECKPOINT, restore_checkpoint, save_checkpoint
from tag2mask.training.log import TrainingLog, last_metrics
from tag2mask.training.meter import TrainingMeter
from tag2mask.training.optim import schedule, set_lr

PATIENCE = 20
"""With half precision a loss may overflow now and then, and the gradient scaler skips the step. The
training fails after more than this number of non-finite losses in a row."""


@dataclass(frozen=True)
class FitSettings:
    """How a network is trained.

    Attributes:
        steps: number of optimizer steps.
        batch_size: photos per batch over all ranks; only for the throughput that is shown.
        accumulate: batches per optimizer step, whose gradients are averaged.
        precision: precision of the forward pass.
        clip_norm: largest norm of the gradient; None: no clipping.
        ema: decay of the moving average of the weights, which becomes the result; 0: no average.
        schedule: learning rate schedule, with ``poly_power`` and ``warmup_steps``.
        checkpoint_seconds: time between two checkpoints, s.
        log_every: optimizer steps between two rows of the log.
        seed: seed of dropout and views.
    """

    steps: int
    batch_size: int
    accumulate: int
    precision: Precision
    clip_norm: float | None
    ema: float
    schedule: Literal["poly", "cosine", "constant"]
    poly_power: float
    warmup_steps: int
    checkpoint_seconds: float
    log_every: int
    seed: int


class Task(Protocol):
    """What is trained: a module that returns loss terms, its data, and the weights of the terms."""

    @property
    def module(self) -> nn.Module:
        """Has all trained parameters; ``module(*inputs)`` returns loss terms as `Mean` by name."""

    @property
    def section_name(self) -> str:
        """Section of the recipe with the task's settings, for error messages."""

    @property
    def memory_switch(self) -> str | None:
        """Recipe key that would save memory if it were true; None: it is, or there is none."""

    def batches(self, start: int, stop: int) -> Iterable[Any]:
        """Return batches ``start .. stop - 1``, counted from the beginning of training."""

    def inputs(self, batch: Any, step: int, device: torch.device) -> tuple[Any, ...]:
        """Return the arguments of the module for a batch."""

    def weights(self, step: int) -> dict[str, float]:
        """Return the weight of each term in the loss; terms without a weight are only logged."""

    def on_step_end(self, step: int, module: nn.Module) -> None:
        """Called on every rank after each optimizer step, for example to validate.

        Args:
            step: number of optimizer steps so far.
            module: the module, with the moving average of the weights if there is one.
        """


def fit(
    task: Task,
    optimizer: torch.optim.Optimizer,
    settings: FitSettings,
    folder: Path,
    runtime: Runtime,
    *,
    name: str,
) -> dict[str, float]:
    """Train to the last step, continuing from the folder's checkpoint if there is one.

    Afterwards the task's module has the final weights, or their moving average if
    ``settings.ema`` is above 0.

    Args:
        task: what is trained.
        optimizer: optimizer with groups from `parameter_groups`.
        settings: how it is trained.
        folder: folder of ``checkpoint.pt``, ``losses.csv`` and ``tensorboard/``.
        runtime: device and ranks.
        name: title of the progress bar.

    Returns:
        Seconds and photos per second of this session, and the last logged metrics.

    Raises:
        WeightsError: the checkpoint is damaged or of another network.
        RunFolderError: full disk, no permission.
        DeviceError: out of memory, on the device or in a worker that reads photos.
        Tag2MaskError: the loss isn't finite.
    """
    path = folder / CHECKPOINT
    scaler = torch.amp.GradScaler(
        runtime.device.type,
        enabled=resolve_precision(settings.precision, runtime.device) is torch.float16,
    )
    explain = partial(
        explain_out_of_memory,
        f"{task.section_name}.batch_size",
        f"{task.section_name}.crop",
        switch=task.memory_switch,
    )
    with explain():
        module, _ = runtime.setup(task.module, optimizer)
        # After `setup`: the state of the optimizer is loaded to the device of its parameters.
        average = _average(task.module, settings.ema)
        first = restore_checkpoint(path, task.module, optimizer, scaler, average)
    loop = _Loop(task, module, optimizer, scaler, settings, runtime, name)
    columns = ("lr", "photos_per_second", "loss", *task.weights(settings.steps))
    saved = time.monotonic()

    def save(step: int) -> None:
        if runtime.rank == 0:
            save_checkpoint(
                path,
                {
                    "model": task.module.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "scaler": scaler.state_dict(),
                    "step": step,
                    "average": None if average is None else average.state_dict(),
                },
            )

    meter = TrainingMeter(settings.batch_size * settings.accumulate)
    batches = iter(task.batches(first * settings.accumulate, settings.steps * settings.accumulate))
    with (
        TrainingLog(folder, columns, first) if runtime.rank == 0 else nullcontext() as log,
        runtime.progress(settings.steps, name, done=first) as bar,
    ):
        for step in range(first, settings.steps):
            with explain():
                metrics = loop.step(step, batches)
                if average is not None:
                    average.update_parameters(task.module)
            meter.add(metrics)
            bar.advance(1, meter.text)
            last = step + 1 == settings.steps
            if last or (step + 1) % settings.log_every == 0:
                row = meter.take() | {"lr": optimizer.param_groups[0]["lr"]}
                if log is not None:
                    log.write(step + 1, row)
            task.on_step_end(step + 1, task.module if average is None else average.module)
            if last or time.monotonic() - saved >= settings.checkpoint_seconds:
                save(step + 1)
                saved = time.monotonic()
    if first >= settings.steps:  # killed after the last checkpoint: the metrics are in the log
        meter.latest = last_metrics(folder)
        meter.latest.pop("lr", None)
    if average is not None:
        task.module.load_state_dict(average.module.state_dict())
    return meter.summary


class _Loop:
    """Runs one optimizer step at a time."""

    def __init__(
        self,
        task: Task,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        settings: FitSettings,
        runtime: Runtime,
        name: str,
    ) -> None:
        self.task = task
        self.module = module
        self.optimizer = optimizer
        self.scaler = scaler
        self.settings = settings
        self.runtime = runtime
        self.name = name
        self.not_finite = 0

    def step(self, step: int, batches: Iterator[Any]) -> dict[str, float]:
        """Run forward, backward and update; return the loss terms over all ranks."""
        settings, runtime = self.settings, self.runtime
        set_lr(
            self.optimizer,
            schedule(
                step,
                settings.steps,
                kind=settings.schedule,
                power=settings.poly_power,
                warmup=settings.warmup_steps,
            ),
        )
        metrics: dict[str, float] = {}
        for part in range(settings.accumulate):
            batch = next(batches)
            torch.manual_seed(_mix_seed(settings.seed, step, part, runtime.rank))
            with (
                repeatable_resizing(runtime.device),
                runtime.gradients_kept_local(self.module, enabled=part + 1 < settings.accumulate),
            ):
                with runtime.autocast(settings.precision):
                    terms = self.module(*self.task.inputs(batch, step, runtime.device))
                loss, values = _combine(terms, self.task.weights(step), runtime)
                runtime.backward(self.scaler.scale(loss / settings.accumulate))
            for key, value in values.items():
                metrics[key] = metrics.get(key, 0.0) + value / settings.accumulate
        self._check_finite(metrics["loss"], step)
        self.scaler.unscale_(self.optimizer)
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return metrics

    def _check_finite(self, loss: float, step: int) -> None:
        """Raise an error before a loss that isn't finite reaches the weights."""
        self.not_finite = 0 if math.isfinite(loss) else self.not_finite + 1
        # A gradient scaler skips the update of a step whose gradients aren't finite.
        if self.not_finite > (PATIENCE if self.scaler.is_enabled() else 0):
            section = self.task.section_name
            fixes = [f"a lower {section}.optimizer.lr", f"{section}.optimizer.clip_norm=1"]
            if resolve_precision(self.settings.precision, self.runtime.device) is not torch.float32:
                fixes.append(f"{section}.precision=32")
            raise Tag2MaskError(
                f"{self.name}: the loss became {loss} at step {step + 1}",
                fix=f"Start again (--redo, or another --out) with {' or '.join(fixes)}.",
            )


def _combine(
    terms: dict[str, Mean], weights: dict[str, float], runtime: Runtime
) -> tuple[Tensor, dict[str, float]]:
    """Return the weighted sum of the terms, and their values for the log.

    The denominators of the means are summed over the ranks, so the loss equals that of one process
    with the complete batch. DDP averages gradients over the ranks, so the loss is multiplied by
    their number.
    """
    names = list(terms)
    counts = runtime.sum_over_ranks(torch.stack([terms[k].count.detach() for k in names]))
    totals = torch.stack([terms[k].total for k in names])
    means = totals / counts.clamp(min=1)
    factors = means.new_tensor([weights.get(k, 0.0) for k in names])
    loss = (means * factors).sum()
    shown = runtime.sum_over_ranks(means.detach())
    values = dict(zip(names, shown.tolist(), strict=True))
    values["loss"] = float((shown * factors).sum())
    return loss * runtime.world_size, values


def _average(module: nn.Module, decay: float) -> AveragedModel | None:
    """Return the exponential moving average (EMA) of the weights, or None without decay.

    average = decay * average + (1 - decay) * weights after each step, beginning with the first
    weights. Buffers, such as the statistics of batch norms, are those of the last step.
    """
    if decay == 0:
        return None
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(module, multi_avg_fn=update)


def _mix_seed(*numbers: int) -> int:
    """Return one seed from several numbers; neighboring numbers give unrelated streams."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return mixed
