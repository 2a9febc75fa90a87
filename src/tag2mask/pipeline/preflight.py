"""What is looked at before a run begins: late lists, late networks, other runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tag2mask.artifacts.handles import AffinityModel, CamModel, Handle, SegmenterModel
from tag2mask.errors import RecipeError
from tag2mask.recipe.schema import Recipe


def check_runs(compare: Sequence[Path]) -> None:
    """The page of a run comes after hours of training."""
    from tag2mask.report.run_folder import open_runs

    open_runs(compare)


def check_id_list(recipe: Recipe) -> None:
    """The evaluation, which reads ``evaluate.leave_out``, comes after hours of training.

    Raises:
        RecipeError: the list is not there.
    """
    path = recipe.evaluate.leave_out
    if path is not None and not Path(path).is_file():
        raise RecipeError(
            f"no list of ids {path!r}",
            where="evaluate.leave_out",
            fix="Give a text file with one id a line, or null.",
        )


def check_late_networks(recipe: Recipe, out: Path, due: Collection[type[Handle]]) -> None:
    """Build the networks once whose turn comes late; see `stages.networks`.

    Args:
        recipe: of the run.
        out: where its files of weights may be written.
        due: steps that have yet to begin.

    Raises:
        RecipeError: a network can't be built, or takes no such crops.
        WeightsError: its weights are missing, damaged or of another network.
    """
    affinity = recipe.train_affinity if AffinityModel in due else None
    segmenter = recipe.train_segmenter if SegmenterModel in due else None
    if affinity is None and segmenter is None:
        return
    from tag2mask.steps.trial_networks import try_networks

    cam = recipe.train_cam if CamModel in due else None
    # One that goes on from another network never looks at its backbone's weights.
    built = cam.backbone if cam is not None and cam.init_from is None else None
    try_networks(affinity, segmenter, built=built, run=out)
