"""The rows of a table from its trials: which other rows each is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tag2mask.ablation.records import RowScores, TrialScores
from tag2mask.ablation.scores import OtherRow, Resampled, row_scores
from tag2mask.ablation.table import AblationRow, AblationTable
from tag2mask.ablation.trials import Trial
from tag2mask.evaluation.records import SEGMENTER

RowAndSeed = tuple[str, int]


def table_rows(
    table: AblationTable,
    trials: Sequence[Trial],
    found: Mapping[RowAndSeed, TrialScores],
    resampled: Mapping[RowAndSeed, Resampled],
) -> tuple[RowScores, ...]:
    """Return the results so far, by row.

    Networks get no tags, and masks do. So a network is compared with other networks, and masks and
    maps with each other, unless the table says otherwise.

    Args:
        table: the table.
        trials: its trials.
        found: their results.
        resampled: the resampled scores of the finished ones.
    """
    rows: list[OtherRow] = []
    for row in table.rows:
        own = [trial for trial in trials if trial.row == row]
        one = own[0]
        by_seed = {seed: values for (name, seed), values in resampled.items() if name == row.name}
        results = [
            found.get((row.name, trial.seed)) or TrialScores(trial.seed, "waiting", trial.command)
            for trial in own
        ]
        like = [other for other in rows if _is_network(other) == (one.measure == SEGMENTER)]
        scores = row_scores(
            row.name,
            one.recipe_name,
            one.options,
            one.learns_from,
            one.measure,
            results,
            by_seed,
            base=_base(row, rows, like),
            previous=like[-1] if like else None,
        )
        rows.append(OtherRow(scores, by_seed))
    return tuple(other.scores for other in rows)


def _is_network(row: OtherRow) -> bool:
    return row.scores.measure == SEGMENTER


def _base(row: AblationRow, rows: Sequence[OtherRow], like: Sequence[OtherRow]) -> OtherRow | None:
    """Return the row that the table names, if it is there, else the first of the same kind."""
    named = [other for other in rows if other.scores.name == row.over]
    return next(iter([*named, *like]), None)
