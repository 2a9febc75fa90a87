"""Step ``report``: one self-contained HTML page about a run, alone or beside others.

Reads whatever steps are complete and writes ``index.html``. The page is cheap and holds nothing of
its own, so it is made anew whenever anything it shows changed, and never refused. The sections come
from ``report``; chosen here are the photos to show: the best, middle and worst ones where there are
masks, the most and least certain ones where there are none.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tag2mask import __version__
from tag2mask.artifacts import (
    CamMaps,
    Evaluation,
    Handle,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    read_json,
    remove_step_folder,
    step_folder,
    write_text,
)
from tag2mask.classes import ClassSet, mask_id
from tag2mask.data.images import read_image
from tag2mask.data.maps import MAP_SUFFIX, read_map
from tag2mask.data.masks import read_mask
from tag2mask.data.samples import SPLITS, Sample, data_root, read_classes, read_index, read_masks
from tag2mask.errors import DataError, RunFolderError
from tag2mask.manifests import Manifest, identity_of, read_identity
from tag2mask.ops.evaluation import EvaluationScores, scores_from_json
from tag2mask.report.class_sections import class_section, confusion_section, tag_section
from tag2mask.report.page import (
    Block,
    Gallery,
    Note,
    Page,
    PhotoRow,
    Picture,
    Section,
    hex_colour,
    picture,
    render,
    with_unit,
)
from tag2mask.report.pictures import fitted, heat_overlay, mask_overlay
from tag2mask.report.run_sections import recipe_section, timing_section, training_section
from tag2mask.report.runs import RunFolder, open_runs
from tag2mask.report.score_sections import curve_section, numbers_section
from tag2mask.report.scored import ScoredRun
from tag2mask.sections import Report

PAGE = "index.html"
SCORES = "evaluation.json"
PHOTOS = "photos.jsonl"
PICTURE_SIDE = 360
"""Long side of a picture, px; twice what the page shows, for dense screens."""


def report(run: Path, section: Report, out: Path, compare: Sequence[Path] = ()) -> ReportPage:
    """Write the page of a run.

    Args:
        run: the run folder; steps that are missing or unfinished are left out.
        section: settings.
        out: folder to write.
        compare: other run folders, shown beside the first.

    Raises:
        RunFolderError: no run folder, a damaged file in one, or ``out`` can't be written.
    """
    runs = open_runs([run, *compare])
    inputs = _inputs(runs)
    wanted = identity_of(ReportPage, out, section, inputs, {})
    found = read_identity(out)
    if isinstance(found, Manifest) and found.fingerprint == wanted.fingerprint:
        return ReportPage.open(out)
    html = render(_page(runs, section))
    if found is not None and found.identity != wanted.identity:
        remove_step_folder(ReportPage, out)
    with step_folder(ReportPage, out, section=section, inputs=inputs) as step:
        write_text(step.path / PAGE, html)
        return step.finish(counts={"runs": len(runs)}, metrics={"bytes": len(html.encode())})


def _inputs(runs: Sequence[RunFolder]) -> dict[str, Handle | str]:
    """Everything that the page shows."""
    inputs: dict[str, Handle | str] = {"tag2mask": __version__}
    for number, run in enumerate(runs):
        of = f" of {run.label}" if number else ""
        inputs |= {f"{handle.step}{of}": handle for handle in run.handles()}
        inputs |= {f"{name}{of}": stamp for name, stamp in run.stamps().items()}
    return inputs


def _page(runs: Sequence[RunFolder], section: Report) -> Page:
    scored = [ScoredRun(run.label, colour, _scores(run)) for colour, run in enumerate(runs)]
    main = runs[0]
    prepared = main.handle(PreparedData)
    sections = (
        numbers_section(scored), curve_section(scored), class_section(scored),
        _photo_section(runs, section.photos), confusion_section(scored), tag_section(scored),
        training_section(runs), timing_section(runs),
        recipe_section(runs, data_root(prepared.path) if prepared is not None else None),
    )  # fmt: skip
    dates = [manifest.started[:10] for manifest in main.manifests.values()]
    made = f" Steps made from {min(dates)} to {max(dates)} (UTC)." if dates else ""
    return Page(f"{section.title}: {main.label}", _subtitle(main), sections,
                footer=f"tag2mask {__version__}.{made}")


def _subtitle(run: RunFolder) -> str:
    parts = []
    prepared = run.handle(PreparedData)
    if prepared is not None:
        classes = read_classes(prepared.path)
        counts = {split: len(read_index(prepared.path, split)) for split in SPLITS}
        parts.append(f"{counts['train']:,} training and {counts['val']:,} validation photos, "
                     f"{len(classes)} class{'es' if len(classes) > 1 else ''}")
    if run.unfinished:
        parts.append(f"not complete: {', '.join(run.unfinished)}")
    return " · ".join(parts)


def _scores(run: RunFolder) -> EvaluationScores | None:
    handle = run.handle(Evaluation)
    if handle is None:
        return None
    path = handle.path / SCORES
    return scores_from_json(read_json(path), where=str(path))


@dataclass(frozen=True)
class _PhotoScore:
    """What ``evaluate`` says of one photo."""

    id: str
    split: str
    miou: float | None
    certainty: float
    mapped: bool


def _photo_section(runs: Sequence[RunFolder], count: int) -> Section:
    """Overlays of telling photos."""
    main = runs[0]
    prepared = main.handle(PreparedData)
    if prepared is None:
        return Section("photos", "Photos", ())
    samples: dict[tuple[str, str], Sample] = {
        (split, sample.id): sample
        for split in SPLITS for sample in read_index(prepared.path, split)
    }  # fmt: skip
    evaluation = main.handle(Evaluation)
    chosen = _examples(list(samples), count) if evaluation is None else \
        _telling(evaluation.path / PHOTOS, count)
    ids = {(photo.split, photo.id) for _, photos in chosen for photo in photos}
    draw = _Overlays(runs, read_classes(prepared.path), read_masks(prepared.path),
                     [_scores_of(run, ids) for run in runs])
    blocks: list[Block] = []
    for title, photos in chosen:
        rows = []
        for found in photos:
            sample = samples.get((found.split, found.id))
            if sample is None:
                continue
            try:
                rows.append(draw.row(sample, found))
            except DataError as error:
                blocks.append(Note(f"{found.id} can't be shown: {error.what}."))
        if rows:
            blocks.append(Gallery(title, tuple(rows)))
    return Section("photos", "Photos", tuple(blocks),
                   intro="Heat: the largest score over the photo's classes, from purple (low) to "
                         "yellow (high). Hatched: pixels that the ground truth leaves out.")


def _telling(path: Path, count: int) -> list[tuple[str, list[_PhotoScore]]]:
    """Best, middle and worst photos by mIoU; without masks, most and least certain ones.

    Photos without a class are all background and right by construction: they tell nothing.
    """
    rows = [row for row in _photo_scores(path) if row.mapped]
    masked = sorted((r for r in rows if r.miou is not None), key=_miou, reverse=True)
    if masked:
        best, rest = masked[:count], masked[count:]
        worst = rest[-count:][::-1]
        rest = rest[: len(rest) - len(worst)]
        first = max(0, (len(rest) - count) // 2)
        return [("Best", best), ("Middle", rest[first : first + count]), ("Worst", worst)]
    most = heapq.nlargest(count, rows, key=lambda row: row.certainty)
    others = [row for row in rows if row not in most]
    least = heapq.nsmallest(count, others, key=lambda row: row.certainty)
    return [("Most certain", most), ("Least certain", least)]


def _examples(ids: Sequence[tuple[str, str]], count: int) -> list[tuple[str, list[_PhotoScore]]]:
    """Evenly spaced photos, for a run that isn't evaluated."""
    places = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))
    return [("Examples", [_PhotoScore(ids[i][1], ids[i][0], None, float("nan"), False)
                          for i in places])]  # fmt: skip


def _photo_scores(path: Path) -> Iterator[_PhotoScore]:
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield _PhotoScore(row["id"], row["split"], row["miou"], row["certainty"],
                                  bool(row["map_tags"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise RunFolderError(f"{path.name} is missing or damaged", where=path.parent,
                             fix="Delete the folder and run `tag2mask evaluate` again.") from None


def _scores_of(run: RunFolder, ids: set[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """A run's mIoU of a few photos, by split and id."""
    handle = run.handle(Evaluation)
    rows = _photo_scores(handle.path / PHOTOS) if handle is not None else iter(())
    return {(row.split, row.id): row.miou for row in rows
            if row.miou is not None and (row.split, row.id) in ids}


def _miou(row: _PhotoScore) -> float:
    assert row.miou is not None
    return row.miou


def _detail(found: _PhotoScore) -> str:
    if found.miou is not None:
        return f"{found.split}, mIoU {with_unit(found.miou)}"
    if np.isfinite(found.certainty):
        return f"{found.split}, certainty {with_unit(found.certainty)}"
    return found.split


class _Overlays:
    """Draws a photo's pictures: photo, ground truth, and heat and mask of each run."""

    def __init__(self, runs: Sequence[RunFolder], classes: ClassSet, truths: dict[str, Path],
                 mious: Sequence[dict[tuple[str, str], float]]) -> None:
        self.runs = runs
        self.classes = classes
        self.truths = truths
        self.mious = mious
        self.colours = classes.colours

    def row(self, sample: Sample, found: _PhotoScore) -> PhotoRow:
        """The pictures of one photo; what a run doesn't have is left out.

        Raises:
            DataError: the photo, its mask or its map can't be read.
        """
        photo = fitted(read_image(sample.image, at_least=PICTURE_SIDE), PICTURE_SIDE)
        pictures = [picture("photo", photo)]
        if sample.id in self.truths:
            truth = read_mask(self.truths[sample.id], len(self.classes))
            pictures.append(picture("ground truth", mask_overlay(photo, truth, self.colours)))
        for run, mious in zip(self.runs, self.mious, strict=True):
            pictures += self._of_run(run, photo, sample.id, mious.get((found.split, found.id)))
        chips = tuple((self.classes.names[tag], hex_colour(self.colours[mask_id(tag)]))
                      for tag in sample.tags)
        return PhotoRow(sample.id, _detail(found), chips, tuple(pictures))

    def _of_run(self, run: RunFolder, photo: Image.Image, photo_id: str,
                miou: float | None) -> list[Picture]:
        """Heat and pseudo mask of one run."""
        several = len(self.runs) > 1
        name = f", {run.label}" if several else ""
        pictures = []
        heat = _file(run, CamMaps, "maps", f"{photo_id}{MAP_SUFFIX}")
        if heat is not None:
            scores = read_map(heat).scores
            strongest = scores.max(axis=0) if len(scores) else np.zeros((1, 1), np.float32)
            pictures.append(picture(f"heat{name}", heat_overlay(photo, strongest)))
        mask = _file(run, PseudoMaskFolder, "masks", f"{photo_id}.png")
        if mask is not None:
            labels = read_mask(mask, len(self.classes))
            score = f", {with_unit(miou)}" if several and miou is not None else ""
            pictures.append(picture(f"pseudo mask{name}{score}",
                                    mask_overlay(photo, labels, self.colours)))
        return pictures


def _file(run: RunFolder, kind: type[Handle], folder: str, name: str) -> Path | None:
    handle = run.handle(kind)
    path = handle.path / folder / name if handle is not None else None
    return path if path is not None and path.is_file() else None
