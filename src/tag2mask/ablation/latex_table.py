"""``ablation.json`` as a LaTeX table."""

from __future__ import annotations

from collections.abc import Sequence

from tag2mask.ablation.records import AblationScores, RowScores
from tag2mask.ablation.text_tables import (
    best_text,
    mean_percent,
    mean_threshold_text,
    points,
    reading_text,
    row_label,
    splits_text,
    state_text,
)
from tag2mask.text.escaping import latex_text

_VALUES = ("mIoU", "difference", "best", "boundary")
"""Columns of each split."""


def latex_table(scores: AblationScores) -> str:
    """Return the rows, splits side by side; the table needs the package ``booktabs``."""
    splits, width = scores.splits, len(_VALUES)
    rules = " ".join(
        rf"\cmidrule(lr){{{start}-{start + width - 1}}}"
        for start in range(4, 4 + width * len(splits), width)
    )
    heads = "".join(rf" & \multicolumn{{{width}}}{{c}}{{{latex_text(one)}}}" for one in splits)
    basis = splits_text(scores) or "No numbers"
    lines = [
        rf"% {state_text(scores)}. Needs \usepackage{{booktabs}}.",
        r"\begin{table*}",
        r"\centering\small",
        rf"\begin{{tabular}}{{lll{'r' * width * len(splits)}}}",
        r"\toprule",
        rf" & &{heads} \\",
        rules,
        _line(("row", "background threshold", "difference to", *_VALUES * len(splits))),
        r"\midrule",
        *(_line(_cells(row, splits)) for row in scores.rows),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{latex_text(f'{basis}. {reading_text(scores, time=False)}')}}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _cells(row: RowScores, splits: Sequence[str]) -> list[str]:
    found = [row.own(split) for split in splits]
    own = [one for one in found if one is not None]
    bases = [one.over_base.row for one in own if one.over_base is not None]
    cells = [
        row_label(row),
        mean_threshold_text(own[0]) if own else "–",
        bases[0] if bases else "–",
    ]
    for one in found:
        cells += (
            ("–",) * len(_VALUES)
            if one is None
            else (
                mean_percent(one.miou),
                points(None if one.over_base is None else one.over_base.miou),
                best_text(one),
                mean_percent(one.boundary_miou),
            )
        )
    return cells


def _line(cells: Sequence[str]) -> str:
    return " & ".join(latex_text(cell) for cell in cells) + r" \\"
