"""The result of command ``tune`` and its files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from tag2mask.affinity.tuning import TunedWalk, WalkGrid, WalkSetting
from tag2mask.artifacts.handles import Tuning
from tag2mask.artifacts.manifest import read_record
from tag2mask.files.atomic import write_text
from tag2mask.files.json_file import write_json
from tag2mask.metrics.confusion import Float64
from tag2mask.recipe.maps_to_masks import Walk
from tag2mask.text.csv_text import csv_text

TUNED = "tuned.json"
PHOTOS = "photos.txt"
TABLE = "table.csv"
BEST = "best.yaml"


@dataclass(frozen=True)
class TuningResult:
    """The result of a tuning.

    Attributes:
        photos: ids of the photos that were used.
        untuned: the recipe's own setting.
        ranked: every setting at its best background threshold, best first.
        ends: those of alphas, betas and steps of which the best setting has an outermost value.
    """

    photos: tuple[str, ...]
    untuned: TunedWalk
    ranked: tuple[TunedWalk, ...]
    ends: tuple[str, ...]

    @property
    def best(self) -> TunedWalk:
        """The best setting."""
        return self.ranked[0]


@dataclass(frozen=True)
class _Row:
    """A setting in ``tuned.json``."""

    alpha: float
    beta: float
    steps: int
    threshold: float
    miou: float

    def tuned(self) -> TunedWalk:
        """Return it as it was found."""
        return TunedWalk(WalkSetting(self.alpha, self.beta, self.steps), self.threshold, self.miou)


@dataclass(frozen=True)
class _File:
    """What is read of ``tuned.json``."""

    photos: tuple[str, ...]
    untuned: _Row
    settings: Annotated[tuple[_Row, ...], Field(min_length=1)]
    ends: tuple[str, ...]


def read_tuning(tuning: Tuning) -> TuningResult:
    """Read ``tuned.json``.

    Raises:
        RunFolderError: missing or damaged.
    """
    fix = "Delete its folder and run `tag2mask tune` again."
    found = read_record(tuning.path / TUNED, _File, fix=fix)
    return TuningResult(
        found.photos,
        found.untuned.tuned(),
        tuple(row.tuned() for row in found.settings),
        found.ends,
    )


def recipe_values(tuned: TunedWalk, walk: Walk) -> dict[str, dict[str, Any]]:
    """Return a setting as keys of a recipe.

    Args:
        tuned: the setting.
        walk: the recipe's walk; β has no effect on affinities from attention.
    """
    setting = asdict(tuned.setting)
    if walk.affinity == "attention":
        del setting["beta"]
    return {
        "walk": setting,
        "pseudo_masks": {"threshold_from": "fixed", "background_threshold": tuned.threshold},
    }


def write_tuning(
    folder: Path, result: TuningResult, walk: Walk, grid: WalkGrid, miou: Float64
) -> None:
    """Write ``photos.txt``, ``tuned.json``, ``table.csv`` and ``best.yaml``.

    Args:
        folder: folder of the step.
        result: the result.
        walk: the recipe's walk.
        grid: settings that were tried.
        miou: mIoU of each setting at each threshold, 0 to 1.
    """
    curves = dict(zip(grid.settings, miou, strict=True))
    rows = [
        {**setting_values(tuned), "curve": curves[tuned.setting].round(6).tolist()}
        for tuned in result.ranked
    ]
    write_json(
        folder / TUNED,
        {
            "photos": result.photos,
            "untuned": setting_values(result.untuned),
            "ends": result.ends,
            "grid": asdict(grid),
            "settings": rows,
        },
    )
    heads = ["alpha", "beta", "steps", "threshold", "miou"]
    lines = [setting_values(tuned).values() for tuned in result.ranked]
    write_text(folder / TABLE, csv_text([heads, *lines]))
    write_text(folder / PHOTOS, "".join(f"{photo}\n" for photo in result.photos))
    fragment = yaml.safe_dump(recipe_values(result.best, walk), sort_keys=False)
    write_text(
        folder / BEST,
        f"# Part of a recipe: the best of tag2mask tune on the photos of {PHOTOS}.\n{fragment}",
    )


def setting_values(tuned: TunedWalk) -> dict[str, Any]:
    """Return a setting, its background threshold and its mIoU as plain values."""
    return {**asdict(tuned.setting), "threshold": tuned.threshold, "miou": round(tuned.miou, 6)}
