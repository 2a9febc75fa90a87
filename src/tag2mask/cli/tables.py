"""Tables on the standard output; plain text on a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tag2mask.cli.console import print_message, show_understood
from tag2mask.runtime.durations import format_duration

if TYPE_CHECKING:
    from tag2mask.ablation.trials import PlannedTrial
    from tag2mask.artifacts.handles import Handle
    from tag2mask.data.check import DataReport
    from tag2mask.pipeline.dry_run import Plan
    from tag2mask.pipeline.status import StepStatus
    from tag2mask.steps.tuning_result import TuningResult


_SHOWN_PAIRS = 10
_SHOWN_SETTINGS = 10


def show_scores(evaluations: Mapping[str, Handle]) -> None:
    """Print the mIoU of several runs, one line per run and split."""
    from tag2mask.evaluation.wording import with_unit

    table = Table(
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
            table.add_row(name, split, *(with_unit(found.get(key)) for key in figures))
    _print(table)


def show_tuning(
    result: TuningResult, values: Mapping[str, Mapping[str, object]], photos: Path, *, crf: bool
) -> None:
    """Print the best settings of the walk beside the recipe's own, and how to use the best.

    Args:
        result: what `tag2mask tune` found.
        values: the best setting as keys of a recipe.
        photos: the file of the photos' ids.
        crf: whether the recipe's masks go through a dense CRF, which the search leaves out.
    """
    table = Table(
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
        table.add_row(
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
    print(f"The best, for the next run (`tag2mask run ... --redo walk`):\n{' '.join(options)}")
    print(yaml.safe_dump(dict(values), sort_keys=False), end="")
    print(f"To keep its photos out of an evaluation: --set evaluate.leave_out={photos}")
    for name in result.ends:
        print_message(
            f"note: the best value of tune.{name} is an outermost one; better ones may lie beyond"
        )


def show_status(states: Sequence[StepStatus]) -> None:
    """Print the state of every step."""
    table = Table("step", "state", "reads", "why")
    for found in states:
        folder = found.folder
        table.add_row(
            found.step, folder.state, ", ".join(folder.reads), escape("\n".join(folder.reasons))
        )
    _print(table)


def show_plan(plan: Plan) -> None:
    """Print what a run understood, would do and cost; its refusal is left to the caller."""
    show_understood(plan.understood)
    table = Table(
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
        table.add_row(planned.step, planned.action, *figures, escape("\n".join(planned.why)))
    _print(table)
    if plan.refusal is not None:
        return
    costs = [planned.cost for planned in plan.steps if planned.cost is not None]
    if costs:
        less = any(planned.action in ("resume", "update") for planned in plan.steps)
        print(
            f"Estimated, within a factor of two: {format_duration(sum(c.seconds for c in costs))}, "
            f"{_size(sum(c.disk_mib for c in costs))} on disk, "
            f"{_size(max(c.memory_mib for c in costs))} of memory"
            + ("; less where a step resumes or updates." if less else ".")
        )
    else:
        print("Nothing to do.")


def show_trials(planned: Sequence[PlannedTrial]) -> None:
    """Print what an ablation would do, in its order."""
    table = Table("row", "seed", "would run", "time", "disk")
    for found in planned:
        cost = (format_duration(found.seconds), _size(found.disk_mib)) if found.steps else ("", "")
        table.add_row(
            escape(found.trial.row.name),
            str(found.trial.seed),
            ", ".join(found.steps) or "nothing",
            *cost,
        )
    _print(table)
    if any(found.steps for found in planned):
        print(
            "Estimated, within a factor of two: "
            f"{format_duration(sum(p.seconds for p in planned))}, "
            f"{_size(sum(p.disk_mib for p in planned))} on disk."
        )
    else:
        print("Nothing to do.")


def show_recipes(descriptions: Mapping[str, str]) -> None:
    """Print the recipes with their descriptions."""
    table = Table("recipe", "description")
    for name, description in descriptions.items():
        table.add_row(name, escape(description))
    _print(table)


def show_data(report: DataReport) -> None:
    """Print what a data folder holds and all its problems."""
    show_understood(report.understood)
    if report.sizes:
        shown = ", ".join(f"{width}x{height}" for height, width in report.sizes)
        print(f"sizes, smallest, median and largest: {shown} px")
    table = Table("class", *(f"{split} photos" for split in report.photos))
    for index, name in enumerate(report.class_names):
        table.add_row(escape(name), *(str(row[index]) for row in report.tag_counts))
    _print(table)
    if report.pairs:
        shown = ", ".join(f"{a} + {b}: {count}" for a, b, count in report.pairs[:_SHOWN_PAIRS])
        print(f"most often together: {shown}")
    for message in report.warnings:
        print_message(f"warning: {message}")
    for message in report.errors:
        print_message(f"error: {message}")
    print_message(f"{len(report.errors)} errors, {len(report.warnings)} warnings")


def _size(mib: float) -> str:
    return f"{max(1, round(mib))} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def _print(table: Table) -> None:
    # A pipe has no width: wrapping there would break paths and keys.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)
