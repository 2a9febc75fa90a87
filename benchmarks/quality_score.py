"""How well the quality scores, and each kind of evidence, rank the photos of runs with masks.

    python benchmarks/quality_score.py RUN... [--tuning benchmarks/voc12_tune200.txt]

Reads ``evaluate/photos.jsonl`` of finished runs. For the pseudo masks and the network's masks it
prints Spearman's rank correlation with the photo's mIoU, and the share of the photos of the lowest
fifth by mIoU that are in the lowest fifth by the score; photos without the evidence don't count.
Then the sets of evidence that rank the tuning photos best. The tuning photos are those of the
listed ids, in whichever split; on photos that nothing was chosen on, add ``--validation``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from tag2mask.evaluation.evidence import network_mask_evidence, pseudo_mask_evidence
from tag2mask.evaluation.records import SEGMENTER
from tag2mask.metrics.confusion import Confusion
from tag2mask.metrics.quality import quality_scores

TUNING = Path(__file__).with_name("voc12_tune200.txt")
SHOWN_SETS = 5
SCORE = "quality score"
Row = dict[str, Any]


def photo_miou(row: Row, stage: str) -> float:
    """Return the mIoU of a photo's mask of a stage, over the classes in it or in the truth."""
    cells = np.array(row["counts"][stage], np.int64).reshape(-1, 3)
    confusion = Confusion.empty(max(1, int(cells[:, :2].max(initial=0))))
    confusion.counts[cells[:, 0], cells[:, 1]] = cells[:, 2]
    return confusion.miou()


def score_kinds(stage: str, kinds: Sequence[str]) -> list[str]:
    """Return the kinds of evidence of the quality score of a stage's masks."""
    own = network_mask_evidence if stage == SEGMENTER else pseudo_mask_evidence
    return list(own(dict.fromkeys(kinds, 0.0)))


def ranking(scores: Sequence[float], miou: Sequence[float]) -> tuple[float, float]:
    """Return Spearman's correlation, and the share of the worst fifth in the lowest fifth."""
    fifth = max(1, len(miou) // 5)
    worst, lowest = np.argsort(miou)[:fifth], np.argsort(scores)[:fifth]
    return float(spearmanr(scores, miou).statistic), len({*worst} & {*lowest}) / fifth


def rank_by(rows: Sequence[Row], kinds: Sequence[str], stage: str) -> tuple[float, float]:
    """Return `ranking` of the score of some kinds of evidence.

    Photos without any of them, or without a mIoU, are left out; NaN with fewer than two others.
    """
    own = [
        {kind: row["evidence"][kind] for kind in kinds if kind in row["evidence"]} for row in rows
    ]
    scores = quality_scores(own)
    # A photo has neither score nor mIoU if its mask is ignored everywhere.
    found = [
        (score, miou)
        for score, row in zip(scores, rows, strict=True)
        if score is not None and not np.isnan(miou := photo_miou(row, stage))
    ]
    if len(found) < 2:
        return float("nan"), float("nan")
    return ranking([score for score, _ in found], [miou for _, miou in found])


def groups(
    rows: Sequence[Row], tuning: set[str], *, validation: bool
) -> Iterator[tuple[str, list[Row]]]:
    """Yield the tuning photos, the other training photos and, if asked for, validation photos."""
    others = [row for row in rows if row["id"] not in tuning]
    yield "tuning", [row for row in rows if row["id"] in tuning]
    yield "train", [row for row in others if row["split"] == "train"]
    if validation:
        yield "val", [row for row in others if row["split"] == "val"]


def show(run: Path, tuning: set[str], *, validation: bool) -> None:
    """Print the tables of a run.

    Raises:
        SystemExit: the run was evaluated by an earlier version.
    """
    rows = [json.loads(line) for line in (run / "evaluate" / "photos.jsonl").open()]
    if not all("evidence" in row for row in rows):
        raise SystemExit(f"{run}: run `tag2mask evaluate --redo` first")
    rows = [row for row in rows if row["counts"] and row["tags"]]
    stages = [name for name in rows[0]["counts"] if name.startswith(("pseudo", "segmenter"))]
    found = groups(rows, tuning, validation=validation)
    parts = [(name, own) for name, own in found if len(own) >= 10]
    kinds = list(dict.fromkeys(kind for row in rows for kind in row["evidence"]))
    print(f"\n{run}: rank correlation / worst fifth found")
    heads = [f"{stage}, {name} ({len(own)})" for stage in stages for name, own in parts]
    print(f"{'':24s}" + "".join(f"{head:>28s}" for head in heads))
    scores = {stage: score_kinds(stage, kinds) for stage in stages}
    for title, used in (
        *((kind, {stage: [kind] for stage in stages}) for kind in kinds),
        (SCORE, scores),
    ):
        ranks = [rank_by(own, used[stage], stage) for stage in stages for _, own in parts]
        cells = "".join(f"{rank:20.2f} / {share:.2f} " for rank, share in ranks)
        print(f"{title:24s}{cells}")
    for stage in stages:
        sets = [c for n in range(1, len(kinds) + 1) for c in combinations(kinds, n)]
        ranked = sorted(
            sets, key=lambda c: -np.nan_to_num(rank_by(parts[0][1], c, stage)[0], nan=-1)
        )
        print(f"{SCORE} of {stage}: {' + '.join(scores[stage])}; best sets on {parts[0][0]}:")
        for chosen in ranked[:SHOWN_SETS]:
            shown = (f"{name} {rank_by(own, chosen, stage)[0]:.2f}" for name, own in parts)
            print(f"  {', '.join(shown)}: {' + '.join(chosen)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--tuning", type=Path, default=TUNING, help="ids of the tuning photos")
    parser.add_argument("--validation", action="store_true", help="validation photos, too")
    options = parser.parse_args(arguments)
    tuning = set(options.tuning.read_text().split())
    for run in options.runs:
        show(run, tuning, validation=options.validation)


if __name__ == "__main__":
    main()
