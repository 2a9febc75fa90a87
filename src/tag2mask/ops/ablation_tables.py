"""``ablation.json`` as tables: Markdown that also reads well in a terminal, and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tag2mask.ops.ablation import AblationScores, RowScores, Statistic, Summary
from tag2mask.ops.evaluation import NO_SCORE

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--", "−": "$-$", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def markdown_table(scores: AblationScores) -> str:
    """The rows' own numbers, a table a split; then every measure; then commands and failures."""
    parts = [f"{state_text(scores)}."]
    for split in scores.splits:
        parts += [f"## {split}", _markdown(own_head(scores), own_rows(scores, split)),
                  basis_text(scores, split)]
    if scores.splits:
        parts += ["## Every measure", _markdown(MEASURE_HEAD, measure_rows(scores))]
    failed = [f"- {row.name}, seed {trial.seed}: {trial.message}"
              for row in scores.rows for trial in row.trials if trial.state == "failed"]
    if failed:
        parts += ["## Failed", "\n".join(failed)]
    commands = "\n".join(row.trials[0].command for row in scores.rows)
    parts += ["## Commands", f"Of seed {scores.seeds[0]}.", f"```\n{commands}\n```"]
    return "\n\n".join(parts) + "\n"


def latex_table(scores: AblationScores) -> str:
    """The rows' own numbers of all splits, for the LaTeX package ``booktabs``."""
    lines = [rf"% {line}" for line in (state_text(scores), "needs \\usepackage{booktabs}")]
    for split in scores.splits:
        head = own_head(scores)
        lines += [
            r"\begin{table}", r"\centering",
            rf"\caption{{{latex_text(basis_text(scores, split))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule",
            _latex_row(head), r"\midrule",
            *(_latex_row(row) for row in own_rows(scores, split)),
            r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def latex_text(text: str) -> str:
    """Text in which LaTeX reads no command."""
    return "".join(_LATEX.get(character, character) for character in text)


def state_text(scores: AblationScores) -> str:
    """How many of the rows times seeds are done, have failed, or wait."""
    counts = scores.counts
    seeds = "seed" if len(scores.seeds) == 1 else "seeds"
    parts = [f"{len(scores.rows)} rows, {seeds} {', '.join(map(str, scores.seeds))}"]
    parts += [f"{count} {state}" for state, count in counts.items() if count or state == "done"]
    return "; ".join([parts[0], ", ".join(parts[1:])])


def own_head(scores: AblationScores) -> tuple[str, ...]:
    """Columns of `own_rows`."""
    first = scores.rows[0].name
    return ("row", "measured", "mIoU", f"over {first}", "best", f"over {first}", "boundary IoU",
            "precision", "recall", "background score", "seeds", "time")


def own_rows(scores: AblationScores, split: str) -> list[tuple[str, ...]]:
    """A row's own measure on a split, a line a row."""
    rows: list[tuple[str, ...]] = []
    for row in scores.rows:
        own = row.own(split)
        if own is None:
            rows.append((row.name, "–", *("–",) * 8, str(done(row)), seconds_text(row.seconds)))
            continue
        rows.append((
            row.name, stage_text(row, own), percent(own.miou), points(own.gain),
            best_text(own), points(own.best_gain), percent(own.boundary_miou),
            percent(own.precision), percent(own.recall), score_text(own), str(done(row)),
            seconds_text(row.seconds),
        ))  # fmt: skip
    return rows


MEASURE_HEAD = ("row", "split", "measure", "mIoU", "best", "boundary IoU", "background score",
                "tags", "photos")


def measure_rows(scores: AblationScores) -> list[tuple[str, ...]]:
    """Every measure of every row and split."""
    return [
        (row.name, own.split, own.stage if own.measure != "masks" else f"masks ({own.stage})",
         percent(own.miou), best_text(own), percent(own.boundary_miou), score_text(own),
         own.tag_source, str(own.photos))
        for row in scores.rows for own in row.summaries
    ]


def basis_text(scores: AblationScores, split: str) -> str:
    """What all numbers of a split stand on."""
    photos = sorted({summary.photos for row in scores.rows for summary in row.summaries
                     if summary.split == split})
    tags = sorted({own.tag_source for row in scores.rows if (own := row.own(split)) is not None})
    spread = "mean ± sample standard deviation over seeds" if len(scores.seeds) > 1 else "one seed"
    return (f"{split}, {' or '.join(map(str, photos))} photos, {' or '.join(tags)} tags, %; "
            f"{spread}. mIoU: at the background score in use, whose source stands beside it. "
            "Best: at the score that is best for these very photos, which their masks had to "
            f"tell. {_supervision_text(scores)}Time: of all the row's steps, shared ones too.")


def _supervision_text(scores: AblationScores) -> str:
    rows = [row.name for row in scores.rows if row.learns_from == "masks"]
    return f"Learns from masks, fully supervised: {', '.join(rows)}. " if rows else ""


def stage_text(row: RowScores, own: Summary) -> str:
    """What a row's own number was taken from."""
    return f"{own.stage}, masks used" if row.learns_from == "masks" else own.stage


def done(row: RowScores) -> int:
    """Number of seeds that are done."""
    return sum(trial.state == "done" for trial in row.trials)


def percent(value: Statistic | None) -> str:
    """Mean ± spread in percent."""
    return _spread_text(value, lambda share: f"{100 * share:.2f}")


def points(value: Statistic | None) -> str:
    """The same with a sign."""
    return _spread_text(value, lambda share: f"{100 * share:+.2f}".replace("-", "−"))


def best_text(own: Summary) -> str:
    """The best mIoU and its background score."""
    if own.best_miou is None or own.best_background_score is None:
        return "–"
    return f"{percent(own.best_miou)} at {own.best_background_score.mean:.2f}"


def score_text(own: Summary) -> str:
    """The background score in use and its source."""
    if own.background_source == NO_SCORE:
        return NO_SCORE
    score = own.background_score
    return f"{'?' if score is None else f'{score.mean:.2f}'} ({own.background_source})"


def seconds_text(value: Statistic | None) -> str:
    """A time in seconds, minutes or hours."""
    if value is None:
        return "–"
    if value.mean < 90:
        return f"{value.mean:.0f} s"
    minutes = value.mean / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _spread_text(value: Statistic | None, text: Callable[[float], str]) -> str:
    if value is None:
        return "–"
    spread = "" if value.spread is None else f" ± {100 * value.spread:.2f}"
    return text(value.mean) + spread


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(latex_text(cell) for cell in cells) + r" \\"
