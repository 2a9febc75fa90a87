"""Tables on the standard output; plain text on a pipe."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tag2mask.classes import BACKGROUND, IGNORE, mask_id
from tag2mask.cli.console import print_message, print_text, show_understood
from tag2mask.errors import counted
from tag2mask.runtime.durations import format_duration
from tag2mask.text.escaping import visible

if TYPE_CHECKING:
    from tag2mask.ablation.trials import PlannedTrial
    from tag2mask.artifacts.handles import Handle
    from tag2mask.data.checks.data_folder import DataReport
    from tag2mask.pipeline.dry_run import Plan
    from tag2mask.pipeline.status import StepStatus
    from tag2mask.review.ask import Asked
    from tag2mask.steps.tuning_result import TuningResult


_SHOWN_PAIRS = 10
_SHOWN_SETTINGS = 10


def show_scores(evaluations: Mapping[str, Handle]) -> None:
    """Print the mIoU of several runs, one line per run and split."""
    from tag2mask.evaluation.wording import with_unit

    table = _table(
        "run",
        "split",
        "mIoU of the maps, best threshold",
        "of the masks",
        "of the segmentation network",
        "tags, mAP",
    )
    for name, evaluation in evaluations.items():
        for split, found in evaluation.manifest.metrics.items():
            figures = ("best_miou", "miou", "segmenter_miou", "tag_map")
            _add_row(table, name, split, *(with_unit(found.get(key)) for key in figures))
    _print(table)


def show_tuning(
    result: TuningResult, values: Mapping[str, Mapping[str, object]], photos: Path, *, crf: bool
) -> None:
    """Print the best settings of the walk next to the recipe's own, and how to use the best.

    Args:
        result: what `tag2mask tune` found.
        values: the best setting as keys of a recipe.
        photos: the file of the photos' ids.
        crf: whether the recipe's masks go through a dense CRF, which the search leaves out.
    """
    table = _table(
        "",
        "walk.alpha",
        "beta",
        "steps",
        "background threshold",
        "mIoU",
        title=f"{len(result.ranked)} walks on {len(result.photos)} photos"
        + (", before the CRF" if crf else ""),
    )
    rows = [(str(place), tuned) for place, tuned in enumerate(result.ranked[:_SHOWN_SETTINGS], 1)]
    for name, tuned in [*rows, ("recipe", result.untuned)]:
        setting = tuned.setting
        _add_row(
            table,
            name,
            f"{setting.alpha:g}",
            f"{setting.beta:g}",
            str(setting.steps),
            f"{tuned.threshold:g}",
            f"{100 * tuned.miou:.2f} %",
        )
    _print(table)
    options = [
        f"--set {section}.{key}={value}"
        for section, keys in values.items()
        for key, value in keys.items()
    ]
    print_text(f"The best, for the next run (`tag2mask run ... --redo walk`):\n{' '.join(options)}")
    print_text(yaml.safe_dump(dict(values), sort_keys=False).rstrip())
    print_text(f"To keep its photos out of an evaluation: --set evaluate.leave_out={photos}")
    for name in result.ends:
        print_message(
            f"note: the best value of tune.{name} is an outermost one; better ones may lie beyond"
        )


def show_asked(asked: Sequence[Asked]) -> None:
    """Print the photos to ask a person for, in their order."""
    table = _table("photo", "why", "gain", "uncertainty", "doubtful tags", "rarity")
    for one in asked[:_SHOWN_SETTINGS]:
        parts = (one.gain, one.uncertainty, one.doubtful_tags, one.rarity)
        why = "at random" if one.at_random else "represents others" if one.represents else "gain"
        _add_row(table, one.photo, why, *(f"{part:.2f}" for part in parts))
    _print(table)
    at_random = sum(one.at_random for one in asked)
    more = len(asked) - _SHOWN_SETTINGS
    if more > 0:
        print_text(f"and {more} more")
    print_text(f"{counted(len(asked), 'photo', 'photos')} to look at, {at_random} at random")


def show_status(states: Sequence[StepStatus]) -> None:
    """Print the state of every step."""
    table = _table("step", "state", "reads", "why")
    for found in states:
        folder = found.folder
        _add_row(table, found.step, folder.state, ", ".join(folder.reads), _lines(folder.reasons))
    _print(table)


def show_plan(plan: Plan) -> None:
    """Print what a run understood, would do and cost; its refusal is left to the caller."""
    show_understood([*plan.understood, *([plan.objects] if plan.objects else [])])
    table = _table(
        "step",
        "would",
        "time",
        "disk",
        "memory",
        "why",
        title=f"{plan.train} training and {plan.val} validation photos",
    )
    for planned in plan.steps:
        cost = planned.cost if plan.refusal is None else None
        figures = (
            ("", "", "")
            if cost is None
            else (format_duration(cost.seconds), _size(cost.disk_mib), _size(cost.memory_mib))
        )
        _add_row(table, planned.step, planned.action, *figures, _lines(planned.why))
    _print(table)
    for warning in plan.warnings:
        print_message(f"warning: {warning}", lines=False)
    if plan.refusal is not None:
        return
    costs = [planned.cost for planned in plan.steps if planned.cost is not None]
    if costs:
        less = any(planned.action in ("resume", "update") for planned in plan.steps)
        print_text(
            f"Estimated, within a factor of two: {format_duration(sum(c.seconds for c in costs))}, "
            f"{_size(sum(c.disk_mib for c in costs))} on disk, "
            f"{_size(max(c.memory_mib for c in costs))} of memory"
            + ("; less where a step resumes or updates." if less else ".")
        )
    else:
        print_text("Nothing to do.")


def show_trials(planned: Sequence[PlannedTrial]) -> None:
    """Print what an ablation would do, in its order."""
    table = _table("row", "seed", "would run", "time", "disk")
    for found in planned:
        cost = (format_duration(found.seconds), _size(found.disk_mib)) if found.steps else ("", "")
        _add_row(
            table,
            found.trial.row.name,
            str(found.trial.seed),
            ", ".join(found.steps) or "nothing",
            *cost,
        )
    _print(table)
    if any(found.steps for found in planned):
        print_text(
            "Estimated, within a factor of two: "
            f"{format_duration(sum(p.seconds for p in planned))}, "
            f"{_size(sum(p.disk_mib for p in planned))} on disk."
        )
    else:
        print_text("Nothing to do.")


def show_recipes(descriptions: Mapping[str, str]) -> None:
    """Print the recipes with their descriptions."""
    table = _table("recipe", "description")
    for name, description in descriptions.items():
        _add_row(table, name, description)
    _print(table)


def show_data(report: DataReport, notes: Sequence[str] = ()) -> None:
    """Print what a data folder holds and all its problems.

    Args:
        report: what was found.
        notes: further lines, such as how small objects may be; empty ones are left out.
    """
    show_understood(report.understood)
    if report.sizes:
        shown = ", ".join(f"{width}x{height}" for height, width in report.sizes)
        print_text(f"sizes, smallest, median and largest: {shown} px")
    for note in filter(None, notes):
        print_text(note)
    table = _table("class", "in masks", *(f"{split} photos" for split in report.photos))
    for index, name in enumerate(report.class_names):
        counts = (str(row[index]) for row in report.tag_counts)
        _add_row(table, name, str(mask_id(index)), *counts)
    _print(table)
    print_text(f"in masks, too: {BACKGROUND} is the background, {IGNORE} is ignored")
    if report.pairs:
        shown = ", ".join(f"{a} + {b}: {count}" for a, b, count in report.pairs[:_SHOWN_PAIRS])
        print_text(f"most often together: {shown}")
    if report.corrections is not None:
        verdicts = Counter(own.verdict for own in report.corrections.decisions.values())
        counts = (f"{count} {verdict or 'without verdict'}" for verdict, count in verdicts.items())
        print_text(f"corrections: {', '.join(counts) or 'none'}")
    for message in report.warnings:
        print_message(f"warning: {message}", lines=False)
    for message in report.errors:
        print_message(f"error: {message}", lines=False)
    errors = counted(len(report.errors), "error", "errors")
    print_message(f"{errors}, {counted(len(report.warnings), 'warning', 'warnings')}")


def _size(mib: float) -> str:
    return f"{max(1, round(mib))} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def _table(*heads: str, title: str | None = None) -> Table:
    """Return a table whose heads are shown literally, not as rich's markup."""
    table = Table(title=None if title is None else Text(visible(title)))
    for head in heads:
        table.add_column(Text(visible(head)))
    return table


def _add_row(table: Table, *cells: str) -> None:
    """Add cells that are shown literally."""
    table.add_row(*(Text(visible(cell, lines=True)) for cell in cells))


def _lines(texts: Sequence[str]) -> str:
    """Join texts, each of which is one line."""
    return "\n".join(map(visible, texts))


def _print(table: Table) -> None:
    # A pipe has no width: wrapping there would break paths and keys.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)
