"""Reading a run folder: manifests, recipe, training logs and scores.

A report can be made while the run is incomplete: missing and unfinished steps are not errors, they
are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from tag2mask.artifacts.handles import (
    IMPORTED,
    Evaluation,
    Handle,
    HandleT,
    PreparedData,
    PseudoMaskFolder,
    SegmenterModel,
    made_by,
    section_name,
)
from tag2mask.artifacts.manifest import Manifest, read_identity
from tag2mask.artifacts.step_table import MODELS, REPORTED_STEPS
from tag2mask.data.corrections.decisions import DECISIONS
from tag2mask.data.corrections.folder import (
    CORRECTIONS,
    Corrections,
    corrections_of,
    read_corrections,
)
from tag2mask.errors import RunFolderError
from tag2mask.files.stamps import file_stamp
from tag2mask.recipe.loading import RECIPE
from tag2mask.text.yaml_text import parse_yaml
from tag2mask.training.log import LOSSES, numeric_rows, read_rows


@dataclass(frozen=True)
class LossLog:
    """A training log.

    Attributes:
        steps: float (n,), ascending.
        values: float (n,) by column name; NaN where a row has no value.
    """

    steps: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class RunFolder:
    """A run folder.

    Attributes:
        path: the folder.
        label: its name on the page.
        manifests: by step, of the complete steps in the order of a run.
        unfinished: names of the steps that have begun and are not complete.
        recipe: text of the resolved recipe.
    """

    path: Path
    label: str
    manifests: dict[str, Manifest]
    unfinished: tuple[str, ...]
    recipe: str

    def handle(self, kind: type[HandleT]) -> HandleT | None:
        """Return the handle of a step, None unless it is complete; also of masks it was given."""
        if kind.step in self.manifests:
            return kind(self.path / kind.step)
        given = self._given_masks() if kind is PseudoMaskFolder else None
        return given if isinstance(given, kind) else None

    @property
    def masks_made_by(self) -> str:
        """Who made the run's masks, as `tag2mask.artifacts.handles.made_by` returns it."""
        own = self.manifests.get(PseudoMaskFolder.step)
        if own is not None:
            return str(own.metrics.get(IMPORTED, PseudoMaskFolder.step))
        given = self._given_masks()
        return PseudoMaskFolder.step if given is None else made_by(given)

    def _given_masks(self) -> PseudoMaskFolder | None:
        """Return the masks of another folder that the run learned from or scored."""
        for step in (SegmenterModel.step, Evaluation.step):
            manifest = self.manifests.get(step)
            used = None if manifest is None else (manifest.inputs | manifest.coverage).get("masks")
            if used is not None and used.path is not None:
                with suppress(RunFolderError):  # deleted since
                    return PseudoMaskFolder.open((self.path / step / used.path).resolve())
        return None

    def handles(self) -> list[Handle]:
        """Return the handles of all complete steps."""
        return [
            kind(self.path / kind.step) for kind in REPORTED_STEPS if kind.step in self.manifests
        ]

    def losses(self, model: type[Handle]) -> LossLog | None:
        """Return a model's training log, complete or not; None if there is none."""
        return read_losses(self.path / model.step / LOSSES)

    @property
    def _decisions(self) -> Path:
        return self.path / CORRECTIONS / DECISIONS

    def corrections(self) -> Corrections:
        """Return what a person decided: the run's own folder, or else what it was made with.

        Raises:
            DataError: it is damaged.
        """
        if self._decisions.is_file():
            return read_corrections(self._decisions.parent)
        return corrections_of(self.path / PreparedData.step)

    def stamps(self) -> dict[str, str]:
        """Return size and time of the other files that the page shows, to detect changes."""
        return {
            "recipe": _stamp(self.path / RECIPE),
            **({CORRECTIONS: _stamp(self._decisions)} if self._decisions.is_file() else {}),
            **{
                f"losses of {model.step}": _stamp(self.path / model.step / LOSSES)
                for model in MODELS
            },
        }


def open_runs(paths: Sequence[Path]) -> list[RunFolder]:
    """Read the run folders and give each a unique label.

    Raises:
        RunFolderError: no such folder, no step in it, or a damaged manifest.
    """
    runs = [_open_run(path) for path in paths]
    labels = [run.label for run in runs]
    return [
        run if labels.count(run.label) == 1 else _relabeled(run, f"{run.label} ({run.path})")
        for run in runs
    ]


def read_losses(path: Path) -> LossLog | None:
    """Read ``losses.csv`` without truncated rows; None if no complete row is left."""
    if not path.is_file():
        return None
    head, *rows = read_rows(path) or [[]]
    rows = numeric_rows([head, *rows])
    if not rows or head[0] != "step":
        return None
    table = np.array([[float(cell or "nan") for cell in row] for row in rows])
    return LossLog(table[:, 0], {name: table[:, i] for i, name in enumerate(head) if i})


def _open_run(path: Path) -> RunFolder:
    if not path.is_dir():
        raise RunFolderError("no run folder", where=path, fix="Give the --out of `tag2mask run`.")
    manifests: dict[str, Manifest] = {}
    unfinished = []
    for kind in REPORTED_STEPS:
        found = read_identity(path / kind.step)
        if isinstance(found, Manifest):
            manifests[kind.step] = found
        elif found is not None:
            unfinished.append(kind.step)
    if not manifests and not unfinished:
        raise RunFolderError(
            "not a run folder: no step's folder in it",
            where=path,
            fix="Give the --out of `tag2mask run`.",
        )
    recipe = _recipe_text(path / RECIPE, manifests)
    name = _recipe_name(recipe) or path.resolve().name
    return RunFolder(path, name, manifests, tuple(unfinished), recipe)


def _relabeled(run: RunFolder, label: str) -> RunFolder:
    return RunFolder(run.path, label, run.manifests, run.unfinished, run.recipe)


def _recipe_text(path: Path, manifests: dict[str, Manifest]) -> str:
    """Return the run's recipe, or the sections of steps that were run one by one."""
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")
    sections = {section_name(step): manifest.section for step, manifest in manifests.items()}
    return yaml.safe_dump(sections, sort_keys=False, allow_unicode=True)


def _recipe_name(text: str) -> str | None:
    try:
        values = parse_yaml(text)
    except ValueError:
        return None
    name = values.get("name") if isinstance(values, dict) else None
    return str(name) if name and name != "unnamed" else None


def _stamp(path: Path) -> str:
    return file_stamp(path.stat()) if path.is_file() else "absent"
