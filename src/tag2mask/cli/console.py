"""What the command line prints: tables on the standard output, messages on the standard error.

Kept apart so that ``cli`` stays a list of commands. On a pipe the tables are plain text.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tag2mask.artifacts.handles import WITHOUT_SURE_PIXELS, AffinityModel, Handle
from tag2mask.artifacts.manifest import MANIFEST
from tag2mask.errors import first_few
from tag2mask.pipeline import run as pipeline
from tag2mask.recipe.loading import load_recipe

if TYPE_CHECKING:
    from tag2mask.ablation.trials import PlannedTrial
    from tag2mask.data.check import DataReport
    from tag2mask.steps.tune import TuningResult


_SHOWN_SKIPPED = 10
_SHOWN_WARNINGS = 5
_SHOWN_PAIRS = 10
_SHOWN_SETTINGS = 10


def say(message: str) -> None:
    """Print a message to the standard error."""
    print(message, file=sys.stderr, flush=True)


def show_handle(handle: Handle, *, width: int = 0) -> None:
    """Print where a finished step lies, and its counts."""
    page = handle.path / "index.html"
    counts = ", ".join(f"{count} {name}" for name, count in handle.manifest.counts.items())
    print(
        f"{handle.step:>{width}}: {page if page.is_file() else handle.path}"
        + (f" ({counts})" if counts else "")
    )
    warnings = handle.manifest.metrics.get("warnings", ())  # of the data
    for message in warnings[:_SHOWN_WARNINGS]:
        say(f"warning: {message}")
    if len(warnings) > _SHOWN_WARNINGS:
        say(f"{len(warnings) - _SHOWN_WARNINGS} more warnings: {handle.path / MANIFEST}")
    if handle.step == AffinityModel.step and (
        unsure := handle.manifest.metrics.get(WITHOUT_SURE_PIXELS)
    ):
        say(
            f"no use to AffinityNet, without a sure pixel: {first_few(unsure, _SHOWN_SKIPPED)} "
            "(listed in manifest.json)"
        )


def show_run(result: pipeline.RunResult) -> None:
    """Print where every step of a run lies."""
    width = max(len(name) for name in result.handles)
    for handle in result.handles.values():
        show_handle(handle, width=width)


def show_scores(evaluations: dict[str, Handle]) -> None:
    """Print the mIoU of several runs side by side, a line a run and split."""
    table = Table(
        "run",
        "split",
        "mIoU of the maps, best score",
        "of the masks",
        "of the segmentation network",
        "tags, mAP",
    )
    for name, evaluation in evaluations.items():
        for split, found in evaluation.manifest.metrics.items():
            figures = ("best_miou", "miou", "segmenter_miou", "tag_map")
            table.add_row(name, split, *(_percent(found.get(key)) for key in figures))
    _print(table)


def show_tuning(
    result: TuningResult, values: Mapping[str, Mapping[str, object]], photos: Path, *, crf: bool
) -> None:
    """Print the best settings of the walk, the recipe's own beside them, and how to use the best.

    Args:
        result: what `tag2mask tune` found.
        values: the best setting as keys of a recipe.
        photos: the file of the photos' ids.
        crf: whether the recipe's masks go through a dense CRF, which the tuning leaves out.
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
        say(f"note: the best of tune.{name} is an outermost one; better ones may lie beyond")


def show_skipped(skipped: Sequence[str]) -> None:
    """Print the first photos that were left out, and how many more there are."""
    for line in skipped[:_SHOWN_SKIPPED]:
        say(f"left out: {line}")
    if len(skipped) > _SHOWN_SKIPPED:
        say(f"left out: {len(skipped) - _SHOWN_SKIPPED} more, listed in manifest.json")


def show_status(states: Sequence[pipeline.StepStatus]) -> None:
    """Print the state of every step."""
    table = Table("step", "state", "reads", "why")
    for found in states:
        folder = found.folder
        table.add_row(
            found.step, folder.state, ", ".join(folder.reads), escape("\n".join(folder.reasons))
        )
    _print(table)


def show_plan(plan: pipeline.Plan) -> None:
    """Print what a run would do and cost; what it is refused for is the caller's to raise."""
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
            else (duration(cost.seconds), size(cost.disk_mib), size(cost.memory_mib))
        )
        table.add_row(planned.step, planned.action, *figures, escape("\n".join(planned.why)))
    _print(table)
    if plan.refusal is not None:
        return
    costs = [planned.cost for planned in plan.steps if planned.cost is not None]
    if costs:
        less = any(planned.action in ("resume", "update") for planned in plan.steps)
        print(
            f"Estimated, within a factor of two: {duration(sum(c.seconds for c in costs))}, "
            f"{size(sum(c.disk_mib for c in costs))} on disk, "
            f"{size(max(c.memory_mib for c in costs))} of memory"
            + ("; less where a step resumes or updates." if less else ".")
        )
    else:
        print("Nothing to do.")


def show_trials(planned: Sequence[PlannedTrial]) -> None:
    """Print what an ablation would do, in its order."""
    table = Table("row", "seed", "would make", "time", "disk")
    for found in planned:
        cost = (duration(found.seconds), size(found.disk_mib)) if found.steps else ("", "")
        table.add_row(
            escape(found.trial.row.name),
            str(found.trial.seed),
            ", ".join(found.steps) or "nothing",
            *cost,
        )
    _print(table)
    if any(found.steps for found in planned):
        print(
            f"Estimated, within a factor of two: {duration(sum(p.seconds for p in planned))}, "
            f"{size(sum(p.disk_mib for p in planned))} on disk."
        )
    else:
        print("Nothing to do.")


def show_recipes(names: Sequence[str]) -> None:
    """Print the shipped recipes with their descriptions."""
    table = Table("recipe", "description")
    for name in names:
        table.add_row(name, escape(load_recipe(name).description))
    _print(table)


def show_data(report: DataReport) -> None:
    """Print what a data folder holds, and all its problems."""
    photos = ", ".join(f"{count} {split}" for split, count in report.photos.items())
    print(
        f"{report.root}: layout {report.layout}; photos: {photos or 'none'}; "
        f"{report.untagged} untagged, {report.masks} with a mask"
    )
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
        say(f"warning: {message}")
    for message in report.errors:
        say(f"error: {message}")
    say(f"{len(report.errors)} errors, {len(report.warnings)} warnings")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(mib: float) -> str:
    """MiB or GiB, whichever reads best."""
    return f"{max(1, round(mib))} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _print(table: Table) -> None:
    # A pipe has no width: wrapping there would cut paths and keys apart.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)
