"""The training loop: visible, resumable, the same for every network that learns here.

Nothing random outlives a step: dropout and the view transform are drawn from (seed, step, rank) and
the photos from (seed, epoch, index), so a checkpoint needs weights, optimizer and a step number
only, and a run that is killed and resumed ends with the same weights, bit for bit, on the same CPU.
Nothing is saved on the way out of an interrupted step, whose weights may be half updated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tag2mask.errors import Tag2MaskError
from tag2mask.nn.mean import Mean
from tag2mask.nn.repeatable_resize import repeatable_resizing
from tag2mask.runtime.precision import Precision, resolve_precision
from tag2mask.runtime.session import Runtime, explain_out_of_memory
from tag2mask.training.checkpoint import restore_checkpoint, save_checkpoint
from tag2mask.training.log import TrainingLog, last_figures
from tag2mask.training.meter import TrainingMeter
from tag2mask.training.optim import schedule, set_lr

PATIENCE = 20
"""Half precision overflows now and then; more losses in a row that aren't finite are no chance."""


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Attributes:
        steps: optimizer steps.
        batch_size: photos per batch over all ranks, for the rate that is shown.
        accumulate: batches per optimizer step.
        precision: of the forward pass.
        clip_norm: largest gradient norm; None: no clipping.
        ema: decay of the moving average of the weights that the module has in the end; 0: none.
        schedule: of the learning rate, with ``poly_power`` and ``warmup_steps``.
        checkpoint_seconds: time between two checkpoints.
        log_every: steps between two rows of the log.
        seed: of dropout and of the views.
    """

    steps: int
    batch_size: int
    accumulate: int = 1
    precision: Precision = "32"
    clip_norm: float | None = None
    ema: float = 0.0
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    poly_power: float = 0.9
    warmup_steps: int = 0
    checkpoint_seconds: float = 120.0
    log_every: int = 10
    seed: int = 0


class Task(Protocol):
    """What is trained: a module whose forward gives loss terms, and how they add up."""

    @property
    def module(self) -> nn.Module:
        """Holds everything that learns; called once per batch as ``module(*inputs)``."""

    @property
    def section_name(self) -> str:
        """The section of a recipe that holds its settings; messages name those to change."""

    def batches(self, start: int, stop: int) -> Iterable[Any]:
        """Batches ``start .. stop`` (counted from the beginning of training)."""

    def inputs(self, batch: Any, step: int, device: torch.device) -> tuple[Any, ...]:
        """Arguments of the module for a batch."""

    def weights(self, step: int) -> dict[str, float]:
        """Weight of each term in the total; terms without one are only logged."""

    def on_step_end(self, step: int, module: nn.Module) -> None:
        """Called on every rank after each optimizer step, to draw pictures and the like.

        Args:
            step: number of optimizer steps so far.
            module: as it would be if training ended here: its weights are the moving average where
                there is one.
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
    """Train to the last step, from the folder's checkpoint if there is one.

    Args:
        task: what is trained.
        optimizer: with groups made by `parameter_groups`.
        settings: how.
        folder: holds ``checkpoint.pt``, ``losses.csv`` and ``tensorboard/``.
        runtime: where.
        name: shown with the progress.

    Returns:
        Seconds and photos per second of this session, and the last logged figures.

    Raises:
        WeightsError: the checkpoint is damaged or of another network.
        RunFolderError: full disk, no permission.
        DeviceError: out of memory, on the device or where photos are read.
        Tag2MaskError: the loss is no longer finite.
    """
    path = folder / "checkpoint.pt"
    scaler = torch.amp.GradScaler(
        runtime.device.type,
        enabled=resolve_precision(settings.precision, runtime.device) is torch.float16,
    )
    memory_settings = (f"{task.section_name}.batch_size", f"{task.section_name}.crop")
    with explain_out_of_memory(*memory_settings):
        module, _ = runtime.setup(task.module, optimizer)
        # After the move: the optimizer's state follows its parameters to the device.
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
            with explain_out_of_memory(*memory_settings):
                figures = loop.step(step, batches)
                if average is not None:
                    average.update_parameters(task.module)
            meter.add(figures)
            bar.advance(1, meter.text)
            last = step + 1 == settings.steps
            if last or (step + 1) % settings.log_every == 0:
                row = meter.take() | {"lr": optimizer.param_groups[0]["lr"]}
                if log is not None:
                    log.write(step, row)
            task.on_step_end(step + 1, task.module if average is None else average.module)
            if last or time.monotonic() - saved >= settings.checkpoint_seconds:
                save(step + 1)
                saved = time.monotonic()
    if first >= settings.steps:  # killed after the last checkpoint: the figures stand in the log
        meter.latest = last_figures(folder)
        meter.latest.pop("lr", None)
    if average is not None:
        task.module.load_state_dict(average.module.state_dict())
    return meter.summary


class _Loop:
    """One optimizer step at a time."""

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
        """Forward, backward and update; returns the terms' values over all ranks."""
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
        figures: dict[str, float] = {}
        for part in range(settings.accumulate):
            batch = next(batches)
            torch.manual_seed(_mix(settings.seed, step, part, runtime.rank))
            with (
                repeatable_resizing(runtime.device),
                runtime.gradients_kept_local(self.module, enabled=part + 1 < settings.accumulate),
            ):
                with runtime.autocast(settings.precision):
                    terms = self.module(*self.task.inputs(batch, step, runtime.device))
                loss, values = _combine(terms, self.task.weights(step), runtime)
                runtime.backward(self.scaler.scale(loss / settings.accumulate))
            for key, value in values.items():
                figures[key] = figures.get(key, 0.0) + value / settings.accumulate
        self._check(figures["loss"], step)
        self.scaler.unscale_(self.optimizer)
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return figures

    def _check(self, loss: float, step: int) -> None:
        """Stop before a loss that isn't finite reaches the weights."""
        self.not_finite = 0 if math.isfinite(loss) else self.not_finite + 1
        # With a scaler, a step with such gradients is left out.
        if self.not_finite > (PATIENCE if self.scaler.is_enabled() else 0):
            own = self.task.section_name
            ways = [f"a lower {own}.optimizer.lr", f"{own}.optimizer.clip_norm=1"]
            if resolve_precision(self.settings.precision, self.runtime.device) is not torch.float32:
                ways.append(f"{own}.precision=32")
            raise Tag2MaskError(
                f"{self.name}: the loss became {loss} at step {step}",
                fix=f"Begin anew (--redo, or another --out) with {' or '.join(ways)}.",
            )


def _combine(
    terms: dict[str, Mean], weights: dict[str, float], runtime: Runtime
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of means whose denominators are summed over the ranks.

    DDP averages gradients, so each rank's loss is scaled by the number of ranks.
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
    """A moving average of the weights; buffers are those of the last step."""
    if decay == 0:
        return None
    blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(module, multi_avg_fn=blend)


def _mix(*numbers: int) -> int:
    """One seed from several numbers; neighbors give unrelated streams."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return mixed


def epochs_to_steps(
    epochs: int, batches_per_epoch: int, accumulate: int, max_steps: int | None
) -> int:
    """Optimizer steps of a training."""
    steps = max(1, epochs * batches_per_epoch // accumulate)
    return steps if max_steps is None else min(steps, max_steps)
