"""Step ``predict``: label photos with a segmentation network; no tags are needed.

In a run, these are the photos of the chosen splits (`predict_prepared`); otherwise any photos
(`predict`). Writes ``masks/<id>.png`` and, if asked, ``overlays/<id>.jpg``,
``confidence/<id>.png`` and ``probabilities/<id>.npz``, resumable per photo and sharded over ranks.
Imports no torch: an ONNX network needs none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import Predictions, PreparedData, SegmenterModel
from tag2mask.artifacts.journal import recorded_items
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.index import read_classes, read_samples
from tag2mask.data.layouts.ids import path_conflicts
from tag2mask.data.photo_files import PhotoFile
from tag2mask.data.remote.listing import GivenPhoto, RemotePhoto
from tag2mask.errors import DataError, NodesError, RunFolderError, WeightsError, first_few
from tag2mask.recipe.sections import Predict
from tag2mask.runtime.ranks import OneProcess, Ranks
from tag2mask.segmentation.inference.export_spec import DecisionRule
from tag2mask.segmentation.inference.labeling import LabelingSettings, PhotoLabeler
from tag2mask.segmentation.inference.segmenter import Segmenter
from tag2mask.segmentation.loading import open_segmenter
from tag2mask.segmentation.standalone.decisions import Decisions
from tag2mask.segmentation.standalone.files import ANOTHER, is_another
from tag2mask.steps.photo_loops.per_photo import has_all_files, prepared_ids
from tag2mask.steps.photo_loops.predict_photos import PhotoPredictor, photo_files

if TYPE_CHECKING:
    from tag2mask.runtime.session import Runtime


def predict_prepared(
    data: PreparedData, model: SegmenterModel, section: Predict, out: Path, runtime: Runtime
) -> Predictions:
    """Predict the masks of all photos of the chosen splits.

    Their tags are not used, but compared with the masks at the end.

    Args:
        data: photos and classes.
        model: a segmentation network trained on these classes.
        section: settings.
        out: folder to write; masks of unchanged photos are kept. In a complete folder, only missing
            masks are predicted.
        runtime: where to run.

    Raises:
        DataError: a photo can't be read (unless ``skip_bad``) or changed since ``prepare``, the
            data has other classes than the model, or its probabilities aren't finite.
        WeightsError: the model can't be read, or isn't finite.
        DeviceError: out of memory.
        RunFolderError: ``out`` was made with another model or other settings, or can't be written.
    """
    files = partial(photo_files, out, section)
    with step_folder(
        Predictions,
        out,
        section=section,
        inputs={"model": model},
        coverage={"data": data},
        rank=runtime.rank,
        has_all=has_all_files(files, partial(prepared_ids, data)),
    ) as step:
        if step.complete:
            return step.handle
        segmenter = open_segmenter(
            model.path, device=str(runtime.device), precision=section.precision
        )
        if read_classes(data.path) != segmenter.classes:
            raise DataError(
                "the segmentation network was trained on different classes than the data has",
                where=data.path,
                fix="Train on this data, or give the data it was trained on.",
            )
        samples = read_samples(data.path, section.splits)
        photos = [PhotoFile(s.id, s.image, s.stamp, s.size) for s in samples]
        predictor = photo_predictor(segmenter, section, step, None)
        removed = predictor.outputs.remove_missing({photo.id for photo in photos})
        return predictor.finish(
            photos,
            runtime,
            {"removed": removed},
            skip_bad=section.skip_bad,
            tagged=[sample for sample in samples if sample.tags],
        )


def predict(
    photos: Sequence[GivenPhoto],
    segmenter: Segmenter,
    section: Predict,
    out: Path,
    *,
    model: str,
    ranks: Ranks | None = None,
    decisions: Decisions | None = None,
) -> Predictions:
    """Predict the masks of any photos; unreadable ones are skipped and listed.

    Those of storages are tried again by the next call. Also skipped are photos whose id is that of
    another photo with a mask in ``out``.

    Args:
        photos: photos from `list_given_photos`.
        segmenter: the network.
        section: settings.
        out: folder to write; masks of unchanged photos are kept, also those of earlier calls with
            other photos.
        model: sha256 of the network's file, which identifies it.
        ranks: processes that share the photos; None: only this one.
        decisions: gets a line for each mask.

    Raises:
        DataError: the network's probabilities aren't finite.
        DeviceError: out of memory, or no space for fetched photos.
        NodesError: the processes list different photos.
        StorageError: a storage that can't be reached, or denies access; the same call resumes.
        RunFolderError: ``out`` was made with another model or other settings, holds masks of other
            photos of all these ids, or can't be written.
    """
    ranks = ranks or OneProcess()
    if len(set(ranks.gather_results(lambda: _fingerprint(photos)))) > 1:
        raise NodesError(
            "the nodes list different photos, or photos of different times",
            fix="Give photos in a folder that all nodes share, or copies with the same times "
            "(`rsync -a`) under the same path.",
        )
    ids = {photo.id for photo in photos}
    photos = _without_repeated(out, photos, ids)
    named = [photo.id for photo in photos if not photo.problem]
    written = has_all_files(partial(photo_files, out, section), lambda: named)
    remote = any(isinstance(photo, RemotePhoto) for photo in photos)
    with step_folder(
        Predictions,
        out,
        section=section,
        inputs=inputs_of(model, decisions),
        coverage={"photos": _fingerprint(photos)},
        rank=ranks.rank,
        # What a storage failed to deliver may be there now, without any change that is listed.
        has_all=lambda manifest: written(manifest) and not (remote and manifest.skipped),
    ) as step:
        if step.complete:
            return step.handle
        earlier = sum(item not in ids for item in step.journal.ids())
        predictor = photo_predictor(segmenter, section, step, decisions)
        return predictor.finish(photos, ranks, {"earlier": earlier}, skip_bad=True)


def decision_table(
    out: Path, classes: ClassSet, rule: DecisionRule | None, model: Path
) -> Decisions:
    """Return the table of decisions of a folder.

    Raises:
        WeightsError: the network has no decision rule.
    """
    if rule is None:
        raise WeightsError(
            "this network has no decision rule",
            where=model,
            fix="Choose one with `tag2mask export RUN --miss-rate RATE`, and give that folder.",
        )
    return Decisions(out, classes.names, asdict(rule))


def inputs_of(model: str, decisions: Decisions | None) -> dict[str, str]:
    """Return the inputs of a folder: masks of earlier calls without decisions would have none."""
    return {"model": model} | ({} if decisions is None else {"decisions": "decisions.csv"})


def photo_predictor(
    segmenter: Segmenter,
    section: Predict,
    step: Step[Predictions],
    decisions: Decisions | None,
) -> PhotoPredictor:
    """Return what labels photos and writes their files."""
    settings = segmentation_settings(section, segmenter)
    if decisions is not None:
        settings = replace(settings, confidence="uint8")
    return PhotoPredictor(PhotoLabeler(segmenter, settings), section, step, decisions)


def _without_repeated(
    out: Path, photos: Sequence[GivenPhoto], ids: Set[str]
) -> Sequence[GivenPhoto]:
    """Return the photos, with a problem for those whose id or path is another's with a mask.

    Raises:
        RunFolderError: it is so for all of them, as where their folder was moved.
    """
    stamps = recorded_items(out)
    others = {
        photo.id
        for photo in photos
        if photo.id in stamps and is_another(photo.stamp, stamps[photo.id])
    }
    earlier = stamps.keys() - ids
    if earlier:
        others |= {
            outer if outer in ids else inner
            for outer, inner in path_conflicts(earlier | ids)
            if outer in earlier or inner in earlier
        }
    if photos and others == ids:
        raise RunFolderError(
            "masks of other photos have the names of these (or their folder was "
            f"moved): {first_few(sorted(others))}",
            where=out,
            fix="Give another --out, or --redo to delete the older masks.",
        )
    return [
        replace(photo, problem=ANOTHER) if photo.id in others and not photo.problem else photo
        for photo in photos
    ]


def segmentation_settings(section: Predict, segmenter: Segmenter) -> LabelingSettings:
    """Return the settings of labeling that a section describes for a network."""
    crf = None
    if section.crf.enabled:
        from tag2mask.crf.dense_crf import CrfSettings  # here: without it, this starts faster

        crf = CrfSettings(**section.crf.numbers())
    return LabelingSettings(
        long_side=section.side(segmenter.long_side),
        scales=section.scales,
        flip=section.flip,
        tile=section.tile,
        overlap=section.overlap,
        batch_size=section.batch_size,
        crf=crf,
        confidence="uint8" if section.confidence else None,
        probabilities=section.probabilities,
        published=section.behavior == "published",
    )


def _fingerprint(photos: Sequence[GivenPhoto]) -> str:
    """Return the sha256 (hex) of ids and stamps."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(f"{photo.id}\0{photo.stamp}\n".encode())
    return digest.hexdigest()
