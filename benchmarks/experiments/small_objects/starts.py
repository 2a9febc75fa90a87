"""Several starts of a CAM head on frozen features; per class, the start with the best tags is kept.

    python -m benchmarks.experiments.small_objects.starts RUN [--starts 1 4 16 64]
        [--groups 4] [--within 0 0.05] [--gates 0 0.3 0.5] [--epochs 15] [--log FILE]

RUN is a run, of which only ``prepare`` is needed, on a folder of `benchmarks.small_defects`. A
linear head with pooling ``top`` learns a class from the shallow map of stride 8 or not at all, and
its first weights decide. So k heads are trained on three quarters of the training photos, and each
class is taken from the head that ranks the tags of the other quarter best (average precision), or
from the mean of those that are at most ``--within`` worse.

The deep map of stride 16 knows the class of nearly every photo and misses the place by a cell or
two. As a gate, its own map is spread by two cells, scaled from its median to its maximum, and the
shallow map counts only where the gate is at least t (``--gates``; 0: no gate).

Features are computed once, and all heads of a group are trained together: their losses have no
weight in common, so each learns as if it were alone. Each group has a seed of its own. One line per
group, number of starts and gate is appended to ``--log``: average precision of the kept heads on
the held-out tags, and the objects found in the validation photos, tags known, as in
`small_object_features`. Lines that are there are not computed again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.experiments.row_log import Row, append_row, origin, read_rows
from benchmarks.experiments.small_objects.features import (
    class_maps,
    fit,
    levels,
    object_scores,
    pooled,
)
from tag2mask.data.index import read_classes, read_index, read_mask_paths
from tag2mask.data.masks import read_mask
from tag2mask.metrics.tag_scores import tag_quality
from tag2mask.nn.backbones.build import build_backbone

LOG = Path(__file__).with_suffix(".jsonl")
HELD_OUT = 4
"""Every fourth training photo chooses the starts."""
SPREAD = 2
"""Cells of stride 16 by which the gate is wider than the deep map."""
STARTS, DEEP_STARTS = 64, 8
"""Number of heads of a group, and of those on the deep map, which is not what is compared."""
KEYS = ("data", "group", "starts", "within", "gate", "epochs")


class Heads(NamedTuple):
    """Heads from several starts.

    Attributes:
        weight: (starts, C, c).
        precision: average precision of the held-out tags, (starts, C).
    """

    weight: Tensor
    precision: Tensor

    def best_of(self, starts: int, within: float = 0.0) -> Heads:
        """Return one head, of each class's best weights among the first starts.

        Args:
            starts: how many.
            within: average the directions of all weights whose average precision is at most this
                much below the best; 0: the first of the best.
        """
        precision, best = self.precision[:starts].max(dim=0, keepdim=True)
        if within == 0:
            return Heads(self.weight[best, torch.arange(precision.shape[1])], precision)
        near = self.precision[:starts] >= precision - within  # (starts, C)
        directions = self.weight[:starts] / self.weight[:starts].norm(dim=2, keepdim=True)
        mean = (directions * near[:, :, None]).sum(dim=0, keepdim=True)
        return Heads(mean / near.sum(dim=0)[None, :, None], precision)


def train_heads(features: Tensor, tags: Tensor, epochs: int, seed: int, starts: int) -> Heads:
    """Train heads on all photos but the held-out ones, and rank the tags of these."""
    held = torch.arange(len(tags)) % HELD_OUT == HELD_OUT - 1
    tags = tags.repeat(1, starts)
    weight, bias = fit(features[~held], tags[~held], "top", epochs, seed=seed)
    logits = pooled(class_maps(features[held], weight), "top") + bias
    quality = tag_quality(logits.sigmoid().numpy(), tags[held].numpy() > 0)
    precision = torch.from_numpy(np.nan_to_num(quality.average_precision))
    return Heads(weight.view(starts, -1, weight.shape[1]), precision.view(starts, -1))


def gated(maps: Tensor, deep: Tensor, threshold: float) -> Tensor:
    """Return maps that are at their median wherever the deep maps, spread and scaled, are low.

    Args:
        maps: shallow, (n, C, h, w).
        deep: of the same photos, at most as fine.
        threshold: in [0, 1]; 0: unchanged maps.
    """
    wide = functional.max_pool2d(deep, 2 * SPREAD + 1, stride=1, padding=SPREAD)
    low = deep.flatten(2).median(dim=2).values[:, :, None, None]
    high = deep.amax(dim=(2, 3), keepdim=True)
    gate = functional.interpolate((wide - low) / (high - low).clamp(min=1e-6), maps.shape[2:])
    median = maps.flatten(2).median(dim=2).values[:, :, None, None]
    return torch.where(gate >= threshold, maps, median) if threshold > 0 else maps


def due_rows(options: argparse.Namespace, data: dict[str, Any]) -> list[Row]:
    """Return the rows that the log lacks, by group."""
    rows = [
        dict(zip(KEYS, (data, group, starts, within, gate, options.epochs), strict=True))
        for group in range(options.groups)
        for starts in options.starts
        for within in options.within
        for gate in options.gates
    ]
    done = [{key: row[key] for key in KEYS} for row in read_rows(options.log)]
    return [row for row in rows if row not in done]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the rows that the log lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--starts", type=int, nargs="+", default=[1, 4, 16, STARTS])
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--within", type=float, nargs="+", default=[0, 0.05])
    parser.add_argument("--gates", type=float, nargs="+", default=[0, 0.3, 0.5])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--log", type=Path, default=LOG)
    options = parser.parse_args(arguments)
    if max(options.starts) > STARTS:
        parser.error(f"at most {STARTS} starts")
    prepared = options.run / "prepare"
    names, paths = read_classes(prepared).names, read_mask_paths(prepared)
    train, val = read_index(prepared, "train"), read_index(prepared, "val")
    data = {"train": len(train), "val": len(val), "side": train[0].size[0]}
    rows = due_rows(options, data)
    if not rows:
        return
    tags, known = (
        torch.tensor([[float(t in s.tags) for t in range(len(names))] for s in samples])
        for samples in (train, val)
    )
    masks = [read_mask(paths[sample.id], len(names)) for sample in val]
    backbone = build_backbone("tf_efficientnet_lite0", weights="packaged", output_stride=16)
    backbone.eval()  # type: ignore[attr-defined]
    shallow, deep = levels(backbone, train, val, centered=True)[:2]
    for group in sorted({row["group"] for row in rows}):
        own = [row for row in rows if row["group"] == group]
        start = time.monotonic()
        heads = train_heads(shallow.train, tags, options.epochs, group, STARTS)
        deep_heads = train_heads(deep.train, tags, options.epochs, group, DEEP_STARTS)
        deep_head = deep_heads.best_of(DEEP_STARTS)
        deep_maps = class_maps(deep.val, deep_head.weight[0])
        for row in own:
            head = heads.best_of(row["starts"], row["within"])
            maps = gated(class_maps(shallow.val, head.weight[0]), deep_maps, row["gate"])
            found = object_scores(maps, known, masks)
            line = row | {
                "precision": head.precision[0].tolist(),
                "deep_precision": deep_head.precision[0].tolist(),
                "scores": found,
                "minutes_of_group": round((time.monotonic() - start) / 60, 2),
            }
            append_row(options.log, line | origin())
            wrong = found["wrong_parts_per_other_photo"]
            print(*row.items(), f"recall {found['recall']}, wrong {wrong}", flush=True)


if __name__ == "__main__":
    main()
