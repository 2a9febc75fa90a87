"""Sections with photos: overlays of maps, labels and masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tag2mask.affinity.labels import label_path
from tag2mask.artifacts.handles import (
    AffinityLabels,
    Evaluation,
    PreparedData,
)
from tag2mask.data.index import read_classes, read_index, read_mask_paths
from tag2mask.evaluation.records import PHOTOS
from tag2mask.report.page import (
    Block,
    Note,
    PageSection,
)
from tag2mask.report.photo_choice import examples, photo_mious, pick_photos
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.pictures import (
    CLASS_MAPS,
    PICTURE_SIDE,
    Overlays,
    gallery,
    samples_by_place,
)

LABELED = 4
"""Photos whose affinity labels are shown."""


def photo_section(runs: Sequence[RunFolder], count: int) -> PageSection:
    """Return overlays of the best, middle and worst photos, by mIoU or else by quality score."""
    main = runs[0]
    prepared = main.handle(PreparedData)
    if prepared is None:
        return PageSection("photos", "Photos", ())
    samples = samples_by_place(prepared)
    evaluation = main.handle(Evaluation)
    chosen = (
        [("Examples", examples(list(samples), count))]
        if evaluation is None
        else pick_photos(evaluation.path / PHOTOS, count)
    )
    ids = {(photo.split, photo.id) for _, photos in chosen for photo in photos}
    draw = Overlays(
        runs,
        read_classes(prepared.path),
        read_mask_paths(prepared.path),
        [
            photo_mious(scored.path / PHOTOS, ids) if (scored := run.handle(Evaluation)) else {}
            for run in runs
        ],
    )
    blocks: list[Block] = []
    for title, photos in chosen:
        known = [found for found in photos if (found.split, found.id) in samples]
        blocks += gallery(
            ((one.id, partial(draw.row, samples[one.split, one.id], one)) for one in known), title
        )
    return PageSection(
        "photos",
        "Photos",
        tuple(blocks),
        intro="A click opens a picture in the window, with at most "
        f"{PICTURE_SIDE:,} px, and closes it. Heat: the largest score over the photo's classes, "
        f"and, of several classes, the score of each (the first {CLASS_MAPS}), from purple (low) "
        "to yellow (high). Hatched: pixels that the ground truth ignores. Quality: the rank among "
        "the photos of the split by the evidence named after it; it needs no ground truth.",
    )


def label_section(run: RunFolder) -> PageSection:
    """Return the affinity labels of a few tagged training photos."""
    prepared, labels = run.handle(PreparedData), run.handle(AffinityLabels)
    if prepared is None or labels is None:
        return PageSection("affinity-labels", "Affinity labels", ())
    samples = {sample.id: sample for sample in read_index(prepared.path, "train") if sample.tags}
    draw = Overlays([run], read_classes(prepared.path), read_mask_paths(prepared.path), [{}])
    alphas = " and ".join(f"{alpha:g}" for alpha in labels.manifest.metrics.get("alphas", ()))
    blocks: list[Block] = [Note(f"α of the two backgrounds: {alphas}.")] if alphas else []
    chosen = [found.id for found in examples([("train", id) for id in samples], LABELED)]
    paths = {id: label_path(labels.path, id) for id in chosen}
    blocks += gallery(
        (id, partial(draw.labels, run, samples[id], path))
        for id, path in paths.items()
        if path.is_file()
    )
    return PageSection(
        "affinity-labels",
        "Affinity labels",
        tuple(blocks),
        intro="The labels that AffinityNet is trained on: pixels that two dense CRFs agree on, "
        "one with a strong and one with a weak background. Hatched: ignored pixels.",
    )
