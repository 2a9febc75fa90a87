"""Labeling of photos as they arrive in folders, until it is stopped; see `predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event

from tag2mask.artifacts.handles import Predictions
from tag2mask.artifacts.journal import Journal
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.photo_files import PhotoFile
from tag2mask.errors import DataError, RunFolderError, Tag2MaskError
from tag2mask.recipe.sections import Predict
from tag2mask.runtime.ranks import OneProcess
from tag2mask.segmentation.inference.segmenter import Segmenter
from tag2mask.segmentation.standalone.decisions import Decisions
from tag2mask.segmentation.standalone.files import (
    ANOTHER,
    Photo,
    arrivals,
    is_another,
    keep_earlier,
    name_problem,
    reason,
)
from tag2mask.steps.photo_loops.predict_photos import PhotoPredictor
from tag2mask.steps.predict import inputs_of, photo_predictor

AT_ONCE = 32
"""Number of photos labeled between two checks whether to stop."""


def watch(
    folders: Sequence[str],
    segmenter: Segmenter,
    section: Predict,
    out: Path,
    *,
    model: str,
    stop: Event,
    seconds: float = 2.0,
    decisions: Decisions | None = None,
    on_skipped: Callable[[str], object] = lambda _: None,
) -> Predictions:
    """Predict the masks of photos once they didn't change between two looks at their folders.

    If another content arrives under the name of a photo, the files of the earlier one are renamed:
    the time at which they were written becomes part of their names. Photos that can't be read,
    labeled or written are left out until they change; they end nothing. A killed process is
    continued by the same call.

    Args:
        folders: folders to watch, with all folders inside.
        segmenter: the network.
        section: settings.
        out: folder to write; complete when this returns.
        model: sha256 of the network's file, which identifies it.
        stop: ends the work after a few photos.
        seconds: time between two looks.
        decisions: gets a line for each mask.
        on_skipped: called with the id of each photo that is left out, and the reason.

    Raises:
        DataError: a folder is missing or gone.
        RunFolderError: ``out`` was made with another model or other settings, or can't be written.
    """
    skipped: dict[Path, tuple[Photo, str]] = {}
    computed = 0

    def skip(photo: Photo, why: str) -> None:
        skipped[photo.path] = photo, why
        on_skipped(f"{photo.id}: {why}")

    with step_folder(
        Predictions,
        out,
        section=section,
        inputs=inputs_of(model, decisions),
        coverage={"photos": "watched"},
        has_all=lambda _: False,  # it is complete only when stopped
    ) as step:
        predictor = photo_predictor(segmenter, section, step, decisions)
        try:
            for block in _blocks(folders, out, seconds, stop, skipped):
                due = _due(block, step.journal, skip)
                for photo in due:
                    skipped.pop(photo.path, None)
                computed += _label(predictor, due, skip) if due else 0
                if decisions is not None:
                    decisions.write_groups()
        except FileNotFoundError as error:
            raise DataError(
                str(error), fix="Connect it again and run the same command again: it resumes."
            ) from None
        left_out = sorted((photo.id, why) for photo, why in skipped.values())
        total = len(step.journal.ids()) + len(left_out)
        return predictor.complete(total, computed, left_out, OneProcess(), {})


def _blocks(
    folders: Sequence[str],
    out: Path,
    seconds: float,
    stop: Event,
    skipped: Mapping[Path, tuple[Photo, str]],
) -> Iterator[list[Photo]]:
    """Yield a few settled photos at a time until ``stop`` is set."""
    for photos in arrivals(folders, out, seconds, stop):
        known = {photo for photo, _ in skipped.values()}
        fresh = [photo for photo in photos if photo not in known]
        for first in range(0, len(fresh), AT_ONCE):
            if stop.is_set():
                return
            yield fresh[first : first + AT_ONCE]


def _due(
    block: Sequence[Photo], journal: Journal, skip: Callable[[Photo, str], None]
) -> list[Photo]:
    """Return the photos of a block that have no mask of their content yet."""
    known: dict[str, str] = {}
    due = []
    for photo in block:
        stamp = known.get(photo.id) or journal.key(photo.id) or photo.stamp
        if photo.problem:
            skip(photo, photo.problem)
        elif is_another(photo.stamp, stamp):
            skip(photo, ANOTHER)
        elif photo.stamp != journal.key(photo.id):
            known[photo.id] = photo.stamp
            due.append(photo)
    return due


def _label(
    predictor: PhotoPredictor, due: Sequence[Photo], skip: Callable[[Photo, str], None]
) -> int:
    """Write the files of photos, after the earlier ones of these ids were renamed.

    Returns:
        How many photos were labeled.
    """
    journal = predictor.step.journal
    kept = []
    for photo in due:
        if journal.key(photo.id) is not None:
            try:
                for file in predictor.outputs.files(photo.id):
                    keep_earlier(file)
            except OSError as error:
                if not (problem := name_problem(error)):
                    raise
                skip(photo, problem)
                continue
        kept.append(photo)
    _write(predictor, kept, skip)
    return sum(journal.key(photo.id) == photo.stamp for photo in kept)


def _write(
    predictor: PhotoPredictor, due: Sequence[Photo], skip: Callable[[Photo, str], None]
) -> None:
    """Write the files of photos; after an error one by one, to skip the one that caused it."""
    photos = [PhotoFile(photo.id, photo.path, photo.stamp) for photo in due]
    try:
        done = predictor.write(photos, OneProcess(), skip_bad=True)
    except Exception as error:  # those of networks have no class in common
        if not (problem := _problem_of_photo(error)):
            raise
        if len(due) > 1:
            for photo in due:
                _write(predictor, [photo], skip)
        else:
            predictor.step.journal.drop(due[0].id)
            skip(due[0], problem)
        return
    reasons = dict(done.skipped)
    for photo in due:
        if photo.id in reasons:
            skip(photo, reasons[photo.id])


def _problem_of_photo(error: Exception) -> str:
    """Return why a photo gets no mask; empty where the folder that is written is the cause."""
    if isinstance(error, RunFolderError):
        return name_problem(error.__cause__)
    if isinstance(error, OSError):
        return name_problem(error)
    return error.what if isinstance(error, Tag2MaskError) else reason(error)
