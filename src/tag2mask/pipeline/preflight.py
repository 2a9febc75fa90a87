"""Checks before a run begins, of what would else fail after hours of training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tag2mask.artifacts.handles import AffinityModel, CamModel, Handle, SegmenterModel
from tag2mask.errors import RecipeError
from tag2mask.recipe.schema import Recipe


def check_runs(compare: Sequence[Path]) -> None:
    """Check the runs that the report, the last step, compares with.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    from tag2mask.report.run_folder import open_runs

    open_runs(compare)


def check_id_list(recipe: Recipe) -> None:
    """Check that the file in ``evaluate.leave_out`` exists.

    Raises:
        RecipeError: it doesn't.
    """
    path = recipe.evaluate.leave_out
    if path is not None and not Path(path).is_file():
        raise RecipeError(
            f"no list of ids {path!r}",
            where="evaluate.leave_out",
            fix="Give a text file with one id a line, or null.",
        )


def check_late_networks(recipe: Recipe, out: Path, due: Collection[type[Handle]]) -> None:
    """Build the networks of later steps once; see ``steps.trial_networks``.

    Args:
        recipe: of the run.
        out: folder where earlier steps may yet write files of weights.
        due: steps that have not begun.

    Raises:
        RecipeError: a network can't be built, or doesn't accept its crop size.
        WeightsError: its weights are missing, damaged or of another network.
    """
    affinity = recipe.train_affinity if AffinityModel in due else None
    segmenter = recipe.train_segmenter if SegmenterModel in due else None
    if affinity is None and segmenter is None:
        return
    from tag2mask.steps.trial_networks import try_networks

    cam = recipe.train_cam if CamModel in due else None
    # A network that continues from another one never reads its backbone's weights.
    built = cam.backbone if cam is not None and cam.init_from is None else None
    try_networks(affinity, segmenter, built=built, run=out)
