"""``ablation.json`` as tables: Markdown, aligned for terminals, and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from tag2mask.ablation.records import (
    MASKS,
    AblationScores,
    RowScores,
    Statistic,
    Summary,
)
from tag2mask.evaluation.records import NO_THRESHOLD
from tag2mask.evaluation.tables import markdown_table
from tag2mask.evaluation.wording import interval_text, percent
from tag2mask.metrics.bootstrap import Interval
from tag2mask.text.escaping import latex_text, markdown_block, markdown_text

NO_OWN_MEASURE = "No row has a value of its own measure; the other measures are listed below."
MEASURE_HEAD = (
    "row",
    "measured",
    "mIoU",
    "best",
    "boundary IoU",
    "precision",
    "recall",
    "background threshold",
    "on",
)
"""Columns of `measure_rows`."""


def markdown_report(scores: AblationScores) -> str:
    """Return a table of the rows per split, then every measure, failures and commands."""
    parts = [overview(scores)]
    measures = measure_rows(scores)
    if measures:
        parts += ["## Every measure", markdown_table(MEASURE_HEAD, measures)]
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
    """Return a table of the rows' own measures per split."""
    parts = [f"{state_text(scores)}."]
    for split in scores.splits:
        parts += [
            f"## {markdown_text(rows_basis_text(scores, split))}",
            markdown_table(own_head(scores), own_rows(scores, split)),
        ]
    if scores.splits:
        parts.append(markdown_text(reading_text(scores)))
    elif scores.counts["done"]:
        parts.append(NO_OWN_MEASURE)
    return "\n\n".join(parts)


def latex_table(scores: AblationScores) -> str:
    """Return a LaTeX table of the rows, splits side by side; it needs the package ``booktabs``."""
    splits = scores.splits
    columns = ("mIoU", f"over {scores.rows[0].name}", "best", "boundary")
    bases = "; ".join(rows_basis_text(scores, split) for split in splits) or "No numbers"
    rules = " ".join(
        rf"\cmidrule(lr){{{start}-{start + 3}}}" for start in range(3, 3 + 4 * len(splits), 4)
    )
    heads = "".join(rf" & \multicolumn{{4}}{{c}}{{{latex_text(split)}}}" for split in splits)
    lines = [
        rf"% {state_text(scores)}. Needs \usepackage{{booktabs}}.",
        r"\begin{table*}",
        r"\centering\small",
        rf"\begin{{tabular}}{{ll{'rrrr' * len(splits)}}}",
        r"\toprule",
        rf" &{heads} \\",
        rules,
        _latex_row(("row", "background threshold", *columns * len(splits))),
        r"\midrule",
        *(_latex_row(_latex_cells(row, splits)) for row in scores.rows),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{latex_text(f'{bases}. {reading_text(scores, time=False)}')}}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


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
    gain = f"over {scores.rows[0].name}"
    return (
        "row",
        "measured",
        "mIoU",
        gain,
        "best",
        gain,
        "boundary IoU",
        "background threshold",
        "seeds",
        "time",
    )


def own_rows(scores: AblationScores, split: str) -> list[tuple[str, ...]]:
    """Return the cells of each row's own measure on a split."""
    return [
        (
            row.name,
            *_own_cells(row, row.own(split)),
            str(seeds_done(row)),
            seconds_text(row.seconds),
        )
        for row in scores.rows
    ]


def _own_cells(row: RowScores, own: Summary | None) -> tuple[str, ...]:
    if own is None:
        return ("–",) * 7
    return (
        stage_text(row, own),
        with_interval(mean_percent(own.miou), own.miou_interval),
        gain_text(own),
        best_text(own),
        points(own.best_gain),
        mean_percent(own.boundary_miou),
        mean_threshold_text(own),
    )


def measure_rows(scores: AblationScores, digits: int = 2) -> list[tuple[str, ...]]:
    """Return every measure of every row and split; maps and their masks are one line."""
    return [
        (
            row.name,
            own.stage,
            mean_percent(own.miou, digits),
            best_text(own, digits),
            mean_percent(own.boundary_miou, digits),
            mean_percent(own.precision, digits),
            mean_percent(own.recall, digits),
            mean_threshold_text(own),
            _basis(own.split, [own]),
        )
        for row in scores.rows
        for own in row.summaries
        if not _is_in_masks_line(own, row)
    ]


def _is_in_masks_line(own: Summary, row: RowScores) -> bool:
    return own.measure != MASKS and any(
        other.measure == MASKS and (other.split, other.stage) == (own.split, own.stage)
        for other in row.summaries
    )


def rows_basis_text(scores: AblationScores, split: str) -> str:
    """Return split, number of photos and tag source of the rows' own measures."""
    return _basis(split, [own for row in scores.rows if (own := row.own(split)) is not None])


def _basis(split: str, measured: Sequence[Summary]) -> str:
    photos = " or ".join(dict.fromkeys(str(found.photos) for found in measured))
    tags = " or ".join(dict.fromkeys(found.tag_source for found in measured))
    return f"{split}, {photos} photos, {tags} tags"


def reading_text(scores: AblationScores, *, time: bool = True) -> str:
    """Return the legend of the tables of rows."""
    supervised = [row.name for row in scores.rows if row.learns_from == "masks"]
    parts = [
        "%: mean ± sample standard deviation over seeds"
        if len(scores.seeds) > 1
        else "%, of one seed",
        "mIoU and boundary IoU: at the background threshold in use, given with its source",
        "Best: mIoU at the best background threshold for these photos, chosen on their masks",
        f"Over {scores.rows[0].name}: percentage points, seed by seed",
        *(
            ["In brackets: 95 % intervals over photos"]
            if any(own.miou_interval for row in scores.rows for own in row.summaries)
            else []
        ),
        *([f"Trained on masks, not on tags: {', '.join(supervised)}"] if supervised else []),
        *(["Time: all steps of a row, including those shared with other rows"] if time else []),
    ]
    return f"{'. '.join(parts)}."


def stage_text(row: RowScores, own: Summary) -> str:
    """Return the stage of a row's own measure."""
    return f"{own.stage}, masks used" if row.learns_from == "masks" else own.stage


def seeds_done(row: RowScores) -> int:
    """Return the number of seeds that are done."""
    return sum(trial.state == "done" for trial in row.trials)


def mean_percent(value: Statistic | None, digits: int = 2) -> str:
    """Return mean ± spread in percent."""
    return "–" if value is None else percent(value.mean, digits) + _spread(value, digits)


def points(value: Statistic | None, digits: int = 2) -> str:
    """Return mean ± spread in percentage points, with a sign."""
    if value is None:
        return "–"
    return f"{100 * value.mean:+.{digits}f}".replace("-", "−") + _spread(value, digits)


def with_interval(text: str, interval: Interval | None, digits: int = 2) -> str:
    """Return a text with a 95 % interval over photos."""
    return f"{text} ({interval_text(interval, digits)})" if interval else text


def gain_text(own: Summary, digits: int = 2) -> str:
    """Return the gain in percentage points with its 95 % interval over photos."""
    text = points(own.gain, digits)
    if own.gain_interval is None:
        return text
    low, high = (points(Statistic(end, None, 1), digits) for end in own.gain_interval)
    return f"{text} ({low} to {high})"


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


def seconds_text(value: Statistic | None) -> str:
    """Return a duration in seconds, minutes or hours."""
    if value is None:
        return "–"
    if value.mean < 90:
        return f"{value.mean:.0f} s"
    return f"{value.mean / 60:.0f} min" if value.mean < 7200 else f"{value.mean / 3600:.1f} h"


def _latex_cells(row: RowScores, splits: Sequence[str]) -> list[str]:
    found = [row.own(split) for split in splits]
    name = f"{row.name} (masks used)" if row.learns_from == "masks" else row.name
    cells = [name, next((mean_threshold_text(own) for own in found if own is not None), "–")]
    for own in found:
        cells += (
            ("–",) * 4
            if own is None
            else (
                mean_percent(own.miou),
                points(own.gain),
                best_text(own),
                mean_percent(own.boundary_miou),
            )
        )
    return cells


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(latex_text(cell) for cell in cells) + r" \\"
