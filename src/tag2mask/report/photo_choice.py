"""Choice of photos to show: best, middle and worst, by masks or else by quality score."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tag2mask.evaluation.evidence import NETWORK_QUALITY, QUALITY
from tag2mask.evaluation.photo_rows import Place, Row, place_of, quality_of, read_photo_rows
from tag2mask.evaluation.records import EVIDENCE
from tag2mask.evaluation.wording import with_unit


@dataclass(frozen=True)
class PhotoScore:
    """The scores of one photo.

    Attributes:
        id: the photo.
        split: its split.
        miou: of its mask, in [0, 1]; None without a ground truth mask.
        network_miou: of the network's mask; None without it or without ground truth.
        quality: quality score of its mask, in (0, 1); None if unknown.
        network_quality: that of the network's mask.
        evidence: what the scores are computed from, by kind.
        mapped: whether a class has a map.
    """

    id: str
    split: str
    miou: float | None
    network_miou: float | None
    quality: float | None
    network_quality: float | None
    evidence: Mapping[str, float]
    mapped: bool

    def text(self, mask: str) -> str:
        """Return split, scores and evidence, as shown next to the photo.

        Args:
            mask: what a mask of the run is called (`tag2mask.evaluation.wording.mask_name`).
        """
        parts = [self.split]
        if self.miou is not None:
            parts.append(f"mIoU {with_unit(self.miou)}")
        if self.network_miou is not None:
            parts.append(f"of the network {with_unit(self.network_miou)}")
        if self.quality is not None:
            parts.append(f"quality {100 * self.quality:.0f} of 100")
        if self.network_quality is not None:
            parts.append(f"of the network {100 * self.network_quality:.0f} of 100")
        kinds = (
            f"{name.format(mask=mask)} {100 * self.evidence[kind]:.0f}\N{NO-BREAK SPACE}%"
            for kind, name in EVIDENCE.items()
            if kind in self.evidence
        )
        return ": ".join([", ".join(parts), *([", ".join(kinds)] if self.evidence else [])])


def pick_photos(path: Path, count: int) -> list[tuple[str, list[PhotoScore]]]:
    """Return the best, middle and worst photos by mIoU; without masks, by quality score.

    Photos without a class are left out: all background, they are correct by construction.

    Args:
        path: the ``photos.jsonl`` of an evaluation.
        count: photos of each kind, at most.

    Raises:
        RunFolderError: missing or damaged.
    """
    rows = [row for row in _photo_scores(path) if row.mapped]
    masked = sorted((r for r in rows if r.miou is not None), key=_miou, reverse=True)
    if masked:
        best, rest = masked[:count], masked[count:]
        worst = rest[-count:][::-1]
        rest = rest[: len(rest) - len(worst)]
        shown = {(row.split, row.id) for row in (*best, *worst)}
        of_network = [r for r in masked if r.network_miou is not None]
        of_network = [r for r in of_network if (r.split, r.id) not in shown]
        network = sorted(of_network, key=_network_miou)[:count]
        middle = [row for row in rest if row not in network]
        first = max(0, (len(middle) - count) // 2)
        return [
            ("Best", best),
            ("Middle", middle[first : first + count]),
            ("Worst", worst),
            *([("Worst of the network", network)] if network else []),
        ]
    most = heapq.nlargest(count, rows, key=_quality)
    others = [row for row in rows if row not in most]
    least = heapq.nsmallest(count, others, key=_quality)
    predicted = [r for r in others if r.network_quality is not None and r not in least]
    network = heapq.nsmallest(count, predicted, key=_network_quality)
    return [
        ("Highest quality score", most),
        ("Lowest quality score", least),
        *([("Lowest quality score of the network", network)] if network else []),
    ]


def examples(ids: Sequence[Place], count: int) -> list[PhotoScore]:
    """Return evenly spaced photos of those given as (split, id), without scores."""
    places = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))
    return [PhotoScore(ids[i][1], ids[i][0], None, None, None, None, {}, False) for i in places]


def photo_mious(path: Path, ids: Collection[Place]) -> dict[Place, float]:
    """Return the mIoU of some photos, by (split, id), without those that have none.

    Raises:
        RunFolderError: ``path`` is missing or damaged.
    """
    return {
        (row.split, row.id): row.miou
        for row in _photo_scores(path)
        if row.miou is not None and (row.split, row.id) in ids
    }


def every_photo_miou(path: Path) -> dict[Place, float]:
    """Return the mIoU of all photos that have one, by (split, id).

    Raises:
        RunFolderError: ``path`` is missing or damaged.
    """
    rows = _photo_scores(path)
    return {(row.split, row.id): row.miou for row in rows if row.miou is not None}


def _photo_scores(path: Path) -> Iterator[PhotoScore]:
    return read_photo_rows(path, _photo_score)


def _photo_score(row: Row) -> PhotoScore:
    split, id = place_of(row)
    return PhotoScore(
        id,
        split,
        None if row["miou"] is None else float(row["miou"]),
        None if row.get("network_miou") is None else float(row["network_miou"]),
        quality_of(row, QUALITY),
        quality_of(row, NETWORK_QUALITY),
        {str(kind): float(value) for kind, value in row.get("evidence", {}).items()},
        bool(row["map_tags"]),
    )


def _quality(row: PhotoScore) -> float:
    return -1.0 if row.quality is None else row.quality


def _network_quality(row: PhotoScore) -> float:
    assert row.network_quality is not None
    return row.network_quality


def _network_miou(row: PhotoScore) -> float:
    assert row.network_miou is not None
    return row.network_miou


def _miou(row: PhotoScore) -> float:
    assert row.miou is not None
    return row.miou
