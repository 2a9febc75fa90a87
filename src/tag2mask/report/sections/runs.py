"""Sections about how a run was made: training, times, recipe, versions, commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.handles import (
    WITHOUT_SURE_PIXELS,
    WITHOUT_TAGGED_PIXELS,
    AffinityModel,
    Handle,
    PseudoMaskFolder,
)
from tag2mask.artifacts.step_table import MODELS, REPORTED_STEPS
from tag2mask.recipe.loading import RECIPE
from tag2mask.report.page import (
    Block,
    Cell,
    Column,
    Figures,
    Folded,
    Note,
    PageSection,
    PageTable,
    Preformatted,
    Svg,
)
from tag2mask.report.plots import Series, line_plot, running_mean, thinned
from tag2mask.report.run_folder import LossLog, RunFolder
from tag2mask.runtime.durations import format_duration

_TERMS = {
    "loss": "total loss",
    "cls1": "classification, view 1",
    "cls2": "classification, view 2",
    "min1": "min-pooling, view 1",
    "min2": "min-pooling, view 2",
    "er": "ER: equivariance",
    "ecr1": "ECR: equivariant cross, view 1",
    "ecr2": "ECR: equivariant cross, view 2",
    "bg": "pairs of background",
    "fg": "pairs of one class",
    "neg": "pairs of different classes",
    "cross_entropy": "cross entropy",
    "lr": "learning rate",
    "photos_per_second": "photos per second",
}
_LAST = ("lr", "photos_per_second")
_FOLDED_LINES = 1000


def training_section(runs: Sequence[RunFolder]) -> PageSection:
    """Return plots of the losses, learning rate and speed of each training, all runs together."""
    blocks: list[Block] = []
    for model in MODELS:
        unfinished = [run.label for run in runs if model.step in run.unfinished]
        if unfinished:
            blocks.append(
                Note(f"Training is not complete yet: {model.step} of {', '.join(unfinished)}.")
            )
        figures = _loss_figures(
            [(i, run.label, log) for i, run in enumerate(runs) if (log := run.losses(model))]
        )
        if figures:
            blocks.append(
                Figures(
                    figures,
                    legend=tuple(run.label for run in runs),
                    title=model.step,
                    caption="Pale: logged values; strong: running mean over a twentieth of the "
                    "training. Terms are shown unweighted, the total with its weights.",
                )
            )
    return PageSection("training", "Training", tuple(blocks))


def _loss_figures(logs: Sequence[tuple[int, str, LossLog]]) -> tuple[tuple[str, Svg], ...]:
    names = list(dict.fromkeys(name for _, _, log in logs for name in log.values))
    names = [n for n in names if n not in _LAST] + [n for n in _LAST if n in names]
    return tuple(
        (_TERMS.get(name, name), _loss_plot(name, logs))
        for name in names
        if any(np.isfinite(log.values[name]).any() for _, _, log in logs if name in log.values)
    )


def _loss_plot(name: str, logs: Sequence[tuple[int, str, LossLog]]) -> Svg:
    series: list[Series] = []
    for color, label, log in logs:
        values = log.values.get(name)
        if values is None:
            continue
        window = max(1, len(values) // 20)
        if name not in _LAST and window > 1:
            series.append(_series(label, log.steps, values, color, faint=True))
        smooth = running_mean(values, window) if name != "lr" else values
        series.append(_series(label, log.steps, smooth, color))
    series.sort(key=lambda s: not s.faint)
    return line_plot(series, x_label="step", y_label="", size=(360, 210), y_from_zero=True)


def _series(
    label: str, x: NDArray[np.float64], y: NDArray[np.float64], color: int, *, faint: bool = False
) -> Series:
    shown_x, shown_y = thinned(x, y)
    return Series(label, shown_x, shown_y, color=color, faint=faint)


def timing_section(runs: Sequence[RunFolder]) -> PageSection:
    """Return the time and the counts of each step, and the photos it skipped."""
    columns = (
        Column("step", numeric=False),
        *(Column(run.label) for run in runs),
        Column("counts", numeric=False, wide=True),
    )
    rows: list[tuple[str | Cell, ...]] = []
    for step in (kind.step for kind in REPORTED_STEPS):
        done = [run.manifests.get(step) for run in runs]
        if not any(done):
            continue
        counts = done[0].counts if done[0] is not None else {}
        what = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items())
        times = (
            Cell("–", tone="muted")
            if m is None
            else Cell(format_duration(m.seconds), title=m.started)
            for m in done
        )
        rows.append((step, *times, Cell(what, tone="muted")))
    totals = [sum(m.seconds for m in run.manifests.values()) for run in runs]
    rows.append(("total", *(format_duration(total) for total in totals), ""))
    blocks: list[Block] = [PageTable(columns, tuple(rows))]
    for run in runs:
        skipped = list(dict.fromkeys(s for m in run.manifests.values() for s in m.skipped))
        unsure = _listed(run, AffinityModel, WITHOUT_SURE_PIXELS)
        empty = _listed(run, PseudoMaskFolder, WITHOUT_TAGGED_PIXELS)
        for photos, what in (
            (skipped, "left out"),
            (unsure, "without a sure pixel for AffinityNet"),
            (empty, "whose pseudo masks show none of their tags"),
        ):
            if photos:
                blocks.append(_folded(photos, f"{what} in {run.label}"))
    return PageSection(
        "times",
        "Times",
        tuple(blocks),
        intro="Times exclude interruptions; counts are those of the first run.",
    )


def _listed(run: RunFolder, step: type[Handle], key: str) -> Sequence[str]:
    """Return the photos that a step's manifest lists under a key."""
    manifest = run.manifests.get(step.step)
    listed: Sequence[str] = () if manifest is None else manifest.metrics.get(key, ())
    return listed


def _folded(photos: Sequence[str], what: str) -> Folded:
    """Return a folded list of photos, at most ``_FOLDED_LINES`` of them."""
    text = "\n".join(photos[:_FOLDED_LINES])
    if len(photos) > _FOLDED_LINES:
        text += f"\n... and {len(photos) - _FOLDED_LINES} more"
    return Folded(f"{len(photos)} photo{'' if len(photos) == 1 else 's'} {what}", text)


def recipe_section(runs: Sequence[RunFolder], data: Path | None) -> PageSection:
    """Return the command, the resolved recipe and the versions of each run."""
    blocks: list[Block] = []
    if data is not None:
        blocks.append(Preformatted("\n".join(_commands(run, data) for run in runs)))
    blocks += [Folded(f"Recipe of {run.label}", run.recipe) for run in runs]
    rows = _version_rows(runs)
    if rows:
        columns = (
            Column("version", numeric=False),
            *(Column(run.label, numeric=False) for run in runs),
        )
        blocks.append(PageTable(columns, rows))
    return PageSection(
        "recipe",
        "Recipe and versions",
        tuple(blocks),
        intro="What is needed to reproduce these numbers.",
    )


def _commands(run: RunFolder, data: Path) -> str:
    recipe = run.path / RECIPE
    if not recipe.is_file():
        return f"# {run.label}: its steps were run one by one"
    arguments = [
        "tag2mask",
        "run",
        "--data",
        os.fspath(data),
        "--recipe",
        os.fspath(recipe),
        "--out",
        os.fspath(run.path),
    ]
    return shlex.join(arguments)


def _version_rows(runs: Sequence[RunFolder]) -> tuple[tuple[str | Cell, ...], ...]:
    """Return the versions of each package; several where the steps ran with different ones."""
    found: list[dict[str, str]] = []
    for run in runs:
        versions: dict[str, list[str]] = {}
        for manifest in run.manifests.values():
            for name, version in {"tag2mask": manifest.tag2mask, **manifest.versions}.items():
                known = versions.setdefault(name, [])
                if version not in known:
                    known.append(version)
        found.append({name: ", ".join(known) for name, known in versions.items()})
    names = dict.fromkeys(name for versions in found for name in versions)
    return tuple((name, *(versions.get(name, "–") for versions in found)) for name in names)
