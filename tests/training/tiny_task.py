"""A SEAM training that takes a second, for tests of the loop with one process or several.

As a script, ``python tiny_task.py FOLDER DEVICES`` trains there and writes ``weights.pt``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from toy_backbone import PointwiseBackbone

from tag2mask.runtime.session import Runtime
from tag2mask.seam.network import SeamNet
from tag2mask.seam.objective import PUBLISHED_OBJECTIVE, ObjectiveSettings, SeamObjective
from tag2mask.seam.pcm import PUBLISHED_PCM
from tag2mask.seam.transform import ViewTransform
from tag2mask.training.loop import FitSettings, fit
from tag2mask.training.optim import build_optimizer, parameter_groups

BATCH = 4
PCM = replace(PUBLISHED_PCM, channels=(2, 3))
OBJECTIVE = replace(PUBLISHED_OBJECTIVE, published=False, gate_pcm=True)
SETTINGS = FitSettings(
    steps=6,
    batch_size=BATCH,
    accumulate=1,
    precision="32",
    clip_norm=None,
    ema=0.0,
    schedule="poly",
    poly_power=0.9,
    warmup_steps=0,
    checkpoint_seconds=120.0,
    log_every=1,
    seed=0,
)


class TinyTask:
    """Trains on random images with padding.

    Args:
        dropout: dropout before the CAM head.
        classes: number of foreground classes.
        rank: index of this process.
        world_size: number of processes, which share each batch.
        overflow_at: step whose gradients overflow although its loss is finite.
        objective: settings of the loss.
    """

    section_name = "tiny"
    memory_switch: str | None = None

    def __init__(
        self,
        *,
        dropout: float = 0.5,
        classes: int = 3,
        rank: int = 0,
        world_size: int = 1,
        overflow_at: int | None = None,
        objective: ObjectiveSettings = OBJECTIVE,
    ) -> None:
        torch.manual_seed(0)
        net = SeamNet(
            PointwiseBackbone(2), classes, pcm=PCM, dropout=dropout, pooling="avg", centered=False
        )
        self.module = SeamObjective(net.to(memory_format=torch.channels_last), objective)
        self.net = net
        self.classes = classes
        self.share = slice(rank, None, world_size)
        self.finished: list[int] = []
        self.stop_after: int | None = None
        self.spoil_at: int | None = None
        self.step = 0
        if overflow_at is not None:
            net.head.weight.register_hook(
                lambda gradient: gradient * (torch.inf if self.step == overflow_at else 1.0)
            )

    def batches(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for index in range(start, stop):
            generator = torch.Generator().manual_seed(index)
            image = torch.randn(BATCH, 3, 12, 12, generator=generator)
            tags = (torch.rand(BATCH, self.classes, generator=generator) < 0.5).float()
            valid = torch.ones(BATCH, 12, 12, dtype=torch.bool)
            valid[0, 6:], valid[3, :, 4:] = False, False
            yield tuple(x[self.share] for x in (image, tags, valid))  # type: ignore[misc]

    def inputs(self, batch: Any, step: int, device: torch.device) -> tuple[Any, ...]:
        image, tags, valid = batch
        self.step = step
        if step == self.spoil_at:
            image = image * float("nan")
        return image, tags, valid, ViewTransform(scale=0.5)

    def weights(self, step: int) -> dict[str, float]:
        return self.module.total_weights(two_views=True)

    def on_step_end(self, step: int, module: nn.Module) -> None:
        self.finished.append(step)
        if step == self.stop_after:
            raise KeyboardInterrupt


def train(
    task: TinyTask, folder: Path, runtime: Runtime, *, optimizer: str = "adamw", **settings: Any
) -> dict[str, float]:
    """Train the task."""
    groups = parameter_groups(
        task.net, [(task.net.new_parameters(), 2.0)], lr=0.01, bias_lr=2.0, weight_decay=0.01
    )
    chosen = build_optimizer(groups, name=optimizer, momentum=0.9)  # type: ignore[arg-type]
    return fit(task, chosen, replace(SETTINGS, **settings), folder, runtime, name="tiny")


def weights_of(task: TinyTask) -> dict[str, Tensor]:
    """Return a copy of the weights."""
    return {name: tensor.clone() for name, tensor in task.module.state_dict().items()}


def main() -> None:
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    runtime = Runtime.start(device="cpu", devices=devices, workers=0, threads=1)
    task = TinyTask(dropout=0.0, rank=runtime.rank, world_size=runtime.world_size)
    train(task, folder, runtime, steps=4, accumulate=2)
    if runtime.rank == 0:
        torch.save(task.module.state_dict(), folder / "weights.pt")
    runtime.barrier()


if __name__ == "__main__":
    main()
