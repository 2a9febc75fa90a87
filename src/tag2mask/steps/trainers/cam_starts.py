"""Training of several CAM heads on frozen features, and the choice among them (``starts``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tag2mask.artifacts.handles import CamModel
from tag2mask.artifacts.step_folder import Step
from tag2mask.data.index import Sample, group_of
from tag2mask.metrics.tag_scores import tag_quality, tag_table
from tag2mask.recipe.training import HELD_OUT, TrainCam
from tag2mask.runtime.session import Runtime
from tag2mask.seam.cam_head import best_cells
from tag2mask.seam.head_starts import ChosenHead, HeadStarts, mean_of_best, set_head
from tag2mask.seam.model import SeamSpec
from tag2mask.seam.network import SeamNet
from tag2mask.steps.trainers.frozen_features import FrozenFeatures, compute_features
from tag2mask.steps.trainers.training import fit_settings, network_optimizer, rank_order
from tag2mask.training.loop import fit
from tag2mask.training.skipped import SkippedPhotos

LEARNED = 0.5
"""Average precision below which a class is called not learned."""
BATCH_SETTING = "train_cam.batch_size"
Rows = NDArray[np.bool_]


def train_starts(
    net: SeamNet,
    spec: SeamSpec,
    samples: Sequence[Sample],
    section: TrainCam,
    runtime: Runtime,
    step: Step[CamModel],
    *,
    name: str,
) -> tuple[list[str], dict[str, Any]]:
    """Train ``section.starts`` heads, and give the network one that is made of the best.

    Args:
        net: with centered features; its backbone isn't changed.
        spec: its specification.
        samples: training photos.
        section: settings.
        runtime: device and ranks.
        step: folder of the step.
        name: title of the progress bars.

    Returns:
        The unreadable photos, each as ``id: reason``, and what the manifest keeps of the training.

    Raises:
        DataError: a photo can't be read (unless ``skip_bad``).
        DeviceError: out of memory.
        RunFolderError: the folder can't be written, or the disk is too small.
        WeightsError: the checkpoint is damaged.
    """
    skipped = SkippedPhotos(step, runtime, allowed=section.skip_bad, batch_setting=BATCH_SETTING)
    features = compute_features(net, samples, section, step.path, runtime, skipped, name=name)
    assert net.head_norm is not None
    statistics = features.statistics()
    heads = HeadStarts(
        statistics,
        num_classes=len(spec.classes),
        starts=section.starts,
        best_cells=best_cells(spec.pooling),
        eps=net.head_norm.eps,
    )
    held_out = held_out_photos(features.samples, len(spec.classes))
    tags = tag_table([sample.tags for sample in features.samples], len(spec.classes))
    task = StartsTask(heads, features, np.flatnonzero(~held_out), section, runtime, tags)
    optimizer = network_optimizer(heads, heads.parameters(), section)
    summary = fit(task, optimizer, task.settings, step.path, runtime, name=name)
    choice = choose(heads, all_logits(heads, features, runtime), tags, held_out)
    set_head(net, choice.head, statistics)
    found = choice.described(spec.classes, section.starts)
    for line in found.lines:
        runtime.note(f"{name}: {line}")
    runtime.barrier()
    if runtime.rank == 0:
        features.delete()
    metrics = {"steps": task.settings.steps, **summary, "starts": found.classes}
    warnings = {"warnings": found.warnings} if found.warnings else {}
    return skipped.lines(), metrics | warnings


def held_out_photos(samples: Sequence[Sample], classes: int) -> Rows:
    """Return which photos choose the heads, bool (n,): every fourth group in their order.

    A class that only held-out photos show could not be learned: its groups are learned from.
    """
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(group_of(sample), len(numbers)) for sample in samples])
    held_out: Rows = groups % HELD_OUT == HELD_OUT - 1
    tags = tag_table([sample.tags for sample in samples], classes)
    unlearned = ~tags[~held_out].any(axis=0)
    return held_out & ~np.isin(groups, groups[tags[:, unlearned].any(axis=1)])


@dataclass(frozen=True)
class FeatureBatch:
    """Features of photos, each (c, h, w), and their tags, 0/1 (b, C)."""

    features: list[Tensor]
    tags: Tensor


class StartsTask:
    """The heads as a task for the training loop.

    Args:
        heads: what is trained.
        features: of all photos.
        learned: indices of the photos to learn from.
        section: settings.
        runtime: the ranks.
        tags: of all photos, bool (n, C).
    """

    section_name = "train_cam"
    memory_switch: str | None = None

    def __init__(
        self,
        heads: HeadStarts,
        features: FrozenFeatures,
        learned: NDArray[np.int64],
        section: TrainCam,
        runtime: Runtime,
        tags: Rows,
    ) -> None:
        self.module = heads
        self.features = features
        self.learned = learned
        self.section = section
        self.runtime = runtime
        self.settings = fit_settings(section, len(learned))
        self.tags = torch.from_numpy(tags).float()

    def batches(self, start: int, stop: int) -> Iterator[FeatureBatch]:
        """Yield this rank's batches ``start .. stop - 1``."""
        order = rank_order(
            len(self.learned), (start, stop), self.section, self.runtime, BATCH_SETTING
        )
        for addresses in order:
            photos = [int(self.learned[place]) for _, place in addresses]
            yield FeatureBatch([self.features.read(photo) for photo in photos], self.tags[photos])

    def inputs(self, batch: FeatureBatch, step: int, device: torch.device) -> tuple[Any, ...]:
        """Return features and tags on the device."""
        return [photo.to(device) for photo in batch.features], batch.tags.to(device)

    def weights(self, step: int) -> dict[str, float]:
        """Return the weight of the classification loss."""
        return {"cls": self.section.losses.cls}

    def on_step_end(self, step: int, module: nn.Module) -> None:
        """Do nothing: the heads are scored at the end."""


@torch.no_grad()
def all_logits(
    heads: HeadStarts, features: FrozenFeatures, runtime: Runtime
) -> NDArray[np.float32]:
    """Return the logits of all photos, float32 (n, S * C), shared among the ranks."""
    count, ranks = len(features), runtime.world_size
    own = runtime.shard(range(count))

    def logits() -> list[NDArray[np.float32]]:
        device = heads.weight.device
        return [heads.logits([features.read(index).to(device)])[0].cpu().numpy() for index in own]

    shares = runtime.gather_results(logits)
    return np.stack([shares[index % ranks][index // ranks] for index in range(count)])


@dataclass(frozen=True)
class Choice:
    """The head that was made of the best, and what it was chosen by.

    Attributes:
        head: the head.
        precision: best average precision of a class among the starts, (C,); NaN: it has no photo.
        held_out: whether that of a class is of held-out photos, (C,); else of learned ones.
        photos: number of these photos that show the class, (C,).
    """

    head: ChosenHead
    precision: NDArray[np.float64]
    held_out: Rows
    photos: NDArray[np.int64]

    def described(self, names: Sequence[str], starts: int) -> Described:
        """Return what the manifest, the terminal and the warnings say."""
        found = Described({}, [], [])
        for tag, name in enumerate(names):
            kept, precision = int(self.head.kept[tag]), float(self.precision[tag])
            known = not np.isnan(precision)
            found.classes[name] = {
                "heads": kept,
                "average_precision": round(precision, 4) if known else None,
                "held_out": bool(self.held_out[tag]),
                "photos": int(self.photos[tag]),
            }
            photos = "held-out" if self.held_out[tag] else "learned"
            if known:
                found.lines.append(
                    f"{name}: {kept} of {starts} heads, average precision {precision:.2f} "
                    f"({self.photos[tag]:,} {photos} photos)"
                )
            if not self.held_out[tag]:
                why = (
                    "no held-out photo shows it, so the learned ones chose"
                    if known
                    else "no training photo shows it"
                )
                found.warnings.append(f"train_cam.starts: {name}: {why}")
            if known and precision < LEARNED:
                found.warnings.append(
                    f"train_cam.starts: no head has learned {name} (average precision "
                    f"{precision:.2f}); its masks will be wrong. More photos of it help, or "
                    "more starts"
                )
        return found


class Described(NamedTuple):
    """A choice by class for the manifest, and lines for the terminal."""

    classes: dict[str, dict[str, Any]]
    lines: list[str]
    warnings: list[str]


def choose(heads: HeadStarts, logits: NDArray[np.float32], tags: Rows, held_out: Rows) -> Choice:
    """Choose heads by how well they rank the held-out photos by each class.

    A class that no held-out photo shows is chosen by the learned photos.

    Args:
        heads: trained.
        logits: of all photos, float32 (n, S * C).
        tags: bool (n, C).
        held_out: bool (n,).
    """
    shown: Rows = np.asarray(tags[held_out].any(axis=0))
    scores = np.where(
        shown,
        _precision(logits[held_out], tags[held_out], heads.starts),
        _precision(logits[~held_out], tags[~held_out], heads.starts),
    )  # (S, C)
    photos = np.where(shown, tags[held_out].sum(axis=0), tags[~held_out].sum(axis=0))
    head = mean_of_best(heads, torch.from_numpy(scores))
    return Choice(head, scores.max(axis=0), shown, photos)


def _precision(logits: NDArray[np.float32], tags: Rows, starts: int) -> NDArray[np.float64]:
    """Return the average precision of each start and class, (S, C); NaN without photos."""
    repeated = np.tile(tags, (1, starts))
    return tag_quality(logits, repeated).average_precision.reshape(starts, -1)
