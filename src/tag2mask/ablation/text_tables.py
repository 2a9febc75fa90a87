"""``ablation.json`` as Markdown tables, aligned for terminals."""

from __future__ import annotations

from collections.abc import Sequence

from tag2mask.ablation.records import (
    MASKS,
    AblationScores,
    Difference,
    RowScores,
    Statistic,
    Summary,
)
from tag2mask.evaluation.records import NO_THRESHOLD
from tag2mask.evaluation.tables import markdown_table
from tag2mask.evaluation.wording import interval_text, percent
from tag2mask.metrics.bootstrap import Interval
from tag2mask.runtime.durations import format_duration
from tag2mask.text.escaping import markdown_block, markdown_text

NO_OWN_MEASURE = "No row has a value of its own measure; the other measures are listed below."
TEXT_HEADS = frozenset({"row", "measured", "background threshold", "tags", "over"})
"""Heads of columns of text."""


def markdown_report(scores: AblationScores) -> str:
    """Return the tables of `overview`, then every measure, failures and commands."""
    parts = [overview(scores)]
    measures = measure_rows(scores)
    if measures:
        parts += ["## Every measure", markdown_table(measure_head(scores), measures)]
    failed = [
        f"- row {markdown_text(name)}, seed {seed}: {markdown_text(message)}"
        for name, seed, message in failures(scores)
    ]
    if failed:
        parts += ["## Failed", "\n".join(failed)]
    commands = "\n".join(row.trials[0].command for row in scores.rows)
    parts += [
        "## Commands",
        f"An ordinary run for each row, seed {scores.seeds[0]}:",
        markdown_block(commands),
    ]
    return "\n\n".join(parts) + "\n"


def overview(scores: AblationScores) -> str:
    """Return the rows' own measures, splits side by side, and their differences."""
    texts = (state_text(scores), splits_text(scores))
    parts = [" ".join(f"{text}." for text in texts if text)]
    if scores.splits:
        parts += ["## Rows", markdown_table(own_head(scores), own_rows(scores))]
        differences = difference_rows(scores)
        if differences:
            table = markdown_table(difference_head(scores), differences)
            parts += ["## Differences, percentage points", table]
        parts.append(markdown_text(reading_text(scores)))
    elif scores.counts["done"]:
        parts.append(NO_OWN_MEASURE)
    return "\n\n".join(parts)


def state_text(scores: AblationScores) -> str:
    """Return how many trials are done, failed or waiting."""
    seeds = ", ".join(map(str, scores.seeds))
    counts = {state: count for state, count in scores.counts.items() if count or state == "done"}
    return (
        f"{len(scores.rows)} row{'s' * (len(scores.rows) != 1)}, "
        f"seed{'s' * (len(scores.seeds) != 1)} {seeds}: "
        + ", ".join(f"{count} {state}" for state, count in counts.items())
    )


def failures(scores: AblationScores) -> list[tuple[str, int, str]]:
    """Return row, seed and message of each failed trial."""
    return [
        (row.name, trial.seed, trial.message)
        for row in scores.rows
        for trial in row.trials
        if trial.state == "failed"
    ]


def own_head(scores: AblationScores) -> tuple[str, ...]:
    """Return the column heads of `own_rows`."""
    splits = [f"{split}: {value}" for split in scores.splits for value in ("mIoU", "best")]
    return ("row", "measured", *splits, "background threshold", "tags", "seeds", "time")


def own_rows(scores: AblationScores, digits: int = 2) -> list[tuple[str, ...]]:
    """Return the cells of each row's own measure, splits side by side."""
    rows = []
    for row in scores.rows:
        found = [row.own(split) for split in scores.splits]
        own = [one for one in found if one is not None]
        values = [cell for one in found for cell in _score_cells(one, digits)]
        rows.append(
            (
                row.name,
                _joined([stage_text(row, one) for one in own]),
                *values,
                _joined([mean_threshold_text(one) for one in own]),
                _joined([one.tag_source for one in own]),
                str(seeds_done(row)),
                "–" if row.seconds is None else format_duration(row.seconds.mean),
            )
        )
    return rows


def _score_cells(own: Summary | None, digits: int) -> tuple[str, str]:
    if own is None:
        return "–", "–"
    score = with_interval(mean_percent(own.miou, digits), own.miou_interval, digits)
    return score, best_text(own, digits)


def difference_head(scores: AblationScores) -> tuple[str, ...]:
    """Return the column heads of `difference_rows`."""
    splits = [f"{split}: {value}" for split in scores.splits for value in ("mIoU", "best")]
    return ("row", "over", *splits)


def compared_rows(scores: AblationScores) -> list[tuple[RowScores, str, list[Difference | None]]]:
    """Return each row, the name of each row it is compared with, and the difference by split."""
    found = []
    for row in scores.rows:
        own = [row.own(split) for split in scores.splits]
        by_name = [
            {} if one is None else {other.row: other for other in one.differences} for one in own
        ]
        names = dict.fromkeys(name for others in by_name for name in others)
        found += [(row, name, [others.get(name) for others in by_name]) for name in names]
    return found


def difference_rows(scores: AblationScores, digits: int = 2) -> list[tuple[str, ...]]:
    """Return the cells of the differences to each row's base, and to the row before."""
    return [
        (
            row.name,
            name,
            *(
                cell
                for one in splits
                for cell in (
                    ("–", "–")
                    if one is None
                    else (
                        points(one.miou, digits, one.miou_interval),
                        points(one.best_miou, digits, one.best_miou_interval),
                    )
                )
            ),
        )
        for row, name, splits in compared_rows(scores)
    ]


def measure_head(scores: AblationScores) -> tuple[str, ...]:
    """Return the column heads of `measure_rows`."""
    values = ("mIoU", "best", "boundary IoU", "precision", "recall")
    splits = [f"{split}: {value}" for split in all_splits(scores) for value in values]
    return ("row", "measured", *splits, "background threshold", "tags")


def all_splits(scores: AblationScores) -> tuple[str, ...]:
    """Return the splits on which any row has a value of any measure."""
    found = (summary.split for row in scores.rows for summary in row.summaries)
    return tuple(dict.fromkeys(found))


def measure_rows(scores: AblationScores, digits: int = 2) -> list[tuple[str, ...]]:
    """Return every measure of every row, splits side by side; maps and their masks are one line."""
    rows = []
    for row in scores.rows:
        shown = [own for own in row.summaries if not _is_in_masks_line(own, row)]
        for measure in dict.fromkeys(own.measure for own in shown):
            by_split = {own.split: own for own in shown if own.measure == measure}
            found = list(by_split.values())
            cells = [
                cell
                for split in all_splits(scores)
                for cell in _measure_cells(by_split.get(split), digits)
            ]
            stages = _joined([own.stage for own in found])
            thresholds = _joined([mean_threshold_text(own) for own in found])
            tags = _joined([own.tag_source for own in found])
            rows.append((row.name, stages, *cells, thresholds, tags))
    return rows


def _measure_cells(own: Summary | None, digits: int) -> tuple[str, ...]:
    if own is None:
        return ("–",) * 5
    return (
        mean_percent(own.miou, digits),
        best_text(own, digits),
        mean_percent(own.boundary_miou, digits),
        mean_percent(own.precision, digits),
        mean_percent(own.recall, digits),
    )


def _joined(texts: Sequence[str]) -> str:
    """Return different texts with a slash between them; a dash without any."""
    return " / ".join(dict.fromkeys(texts)) or "–"


def _is_in_masks_line(own: Summary, row: RowScores) -> bool:
    return own.measure != MASKS and any(
        other.measure == MASKS and (other.split, other.stage) == (own.split, own.stage)
        for other in row.summaries
    )


def splits_text(scores: AblationScores) -> str:
    """Return the splits with their numbers of photos; empty before any row is done."""
    photos: dict[str, int] = {}
    for own in (own for row in scores.rows for own in row.summaries):
        photos[own.split] = max(own.photos, photos.get(own.split, 0))
    return ", ".join(f"{split} {count} photos" for split, count in photos.items()).capitalize()


def reading_text(scores: AblationScores, *, time: bool = True) -> str:
    """Return the legend of the tables of rows."""
    supervised = [row.name for row in scores.rows if row.learns_from == "masks"]
    parts = [
        "%: mean ± sample standard deviation over seeds"
        if len(scores.seeds) > 1
        else "%, of one seed",
        "mIoU: at the background threshold in use, given with its source",
        "Best: mIoU at the best background threshold for these photos, chosen on their masks",
        "Differences: seed by seed",
        *(
            ["In brackets: 95 % intervals over photos"]
            if any(own.miou_interval for row in scores.rows for own in row.summaries)
            else []
        ),
        *([f"Trained on masks, not on tags: {', '.join(supervised)}"] if supervised else []),
        *(["Time: all steps of a row, including those shared with other rows"] if time else []),
    ]
    return f"{'. '.join(parts)}."


def row_label(row: RowScores) -> str:
    """Return the name of a row, marked where masks taught it; see `stage_text`."""
    return f"{row.name} (masks used)" if row.learns_from == "masks" else row.name


def stage_text(row: RowScores, own: Summary) -> str:
    """Return the stage of a row's own measure."""
    return f"{own.stage}, masks used" if row.learns_from == "masks" else own.stage


def seeds_done(row: RowScores) -> int:
    """Return the number of seeds that are done."""
    return sum(trial.state == "done" for trial in row.trials)


def mean_percent(value: Statistic | None, digits: int = 2) -> str:
    """Return mean ± spread in percent."""
    return "–" if value is None else percent(value.mean, digits) + _spread(value, digits)


def points(value: Statistic | None, digits: int = 2, interval: Interval | None = None) -> str:
    """Return mean ± spread in percentage points, with a sign, and a 95 % interval over photos."""
    if value is None:
        return "–"
    text = _signed(value.mean, digits) + _spread(value, digits)
    if interval is None:
        return text
    return f"{text} ({' to '.join(_signed(end, digits) for end in interval)})"


def _signed(share: float, digits: int) -> str:
    return f"{100 * share:+.{digits}f}".replace("-", "−")


def with_interval(text: str, interval: Interval | None, digits: int = 2) -> str:
    """Return a text with a 95 % interval over photos."""
    return f"{text} ({interval_text(interval, digits)})" if interval else text


def _spread(value: Statistic, digits: int) -> str:
    return "" if value.spread is None else f" ± {percent(value.spread, digits)}"


def best_text(own: Summary, digits: int = 2) -> str:
    """Return the best mIoU and its background threshold."""
    if own.best_miou is None or own.best_background_threshold is None:
        return "–"
    return f"{mean_percent(own.best_miou, digits)} at {own.best_background_threshold.mean:.2f}"


def mean_threshold_text(own: Summary) -> str:
    """Return the background threshold in use and its source."""
    if own.background_source == NO_THRESHOLD:
        return NO_THRESHOLD
    threshold = own.background_threshold
    return f"{'?' if threshold is None else f'{threshold.mean:.2f}'} ({own.background_source})"
