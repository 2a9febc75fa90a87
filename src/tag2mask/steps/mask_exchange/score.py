"""Compare two folders of masks: ``tag2mask masks score``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from tag2mask.classes import IGNORE, ClassSet
from tag2mask.errors import DataError, ProblemsError, first_few
from tag2mask.evaluation.counts import MaskCounts, ResampledMasks
from tag2mask.evaluation.records import MaskScores
from tag2mask.evaluation.scores import mask_scores, none_if_nan
from tag2mask.evaluation.tables import class_table, markdown_table
from tag2mask.evaluation.wording import percent, percent_with_interval
from tag2mask.files.atomic import atomic_write
from tag2mask.files.json_file import write_json
from tag2mask.metrics.confusion import Int64
from tag2mask.report.plot_figure import save_png
from tag2mask.report.plots import Dot, dot_figure
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.threads import ordered_map
from tag2mask.steps.mask_exchange.sources import MaskSource, SourceMask

_DIGITS = 2
_WORST = 10


@dataclass(frozen=True)
class PhotoMiou:
    """A photo with the mIoU of its mask over the classes present in it; None: all is void."""

    id: str
    miou: float | None


@dataclass(frozen=True)
class MaskComparison:
    """The scores of masks against other masks.

    Attributes:
        made, true: the folders.
        scores: over all photos that both have.
        photos: by photo, the worst first.
        ignored_share: share of the true pixels that the scored masks ignore (255).
        only_made, only_true: ids of masks that the other folder lacks.
    """

    made: str
    true: str
    scores: MaskScores
    photos: tuple[PhotoMiou, ...]
    ignored_share: float
    only_made: tuple[str, ...]
    only_true: tuple[str, ...]


def score_masks(made: MaskSource, true: MaskSource, boundary_share: float) -> MaskComparison:
    """Score masks against true ones.

    A mask belongs to the true one of its name; where the paths differ, to the only one whose path
    ends in the same folders and name.

    Args:
        made: the masks to score.
        true: the masks to compare with.
        boundary_share: width of the band of boundary IoU as a share of the diagonal.

    Raises:
        DataError: different classes, no common photo, masks of different sizes, or masks that can't
            be read.
    """
    _check_same_classes(made, true)
    pairs, only_made, only_true = _pairs(made, true)
    _check_sizes(pairs)
    counts, tallies = MaskCounts.empty(len(true.classes)), ResampledMasks.empty(len(true.classes))
    photos, ignored, known = [], 0, 0
    with ProgressBar(len(pairs), "score masks", only_if_long=True) as bar:
        for (mask, _), found in zip(
            pairs,
            ordered_map(lambda pair: _count(*pair, true.classes, boundary_share), pairs),
            strict=True,
        ):
            counts.merge(found.counts)
            tallies.add(mask.id, found.cells)
            ignored, known = ignored + found.ignored, known + found.known
            photos.append(PhotoMiou(mask.id, none_if_nan(found.counts.confusion.miou())))
            bar.advance()
    scores = mask_scores(
        counts.confusion,
        counts.boundary,
        len(pairs),
        true.classes.mask_names,
        tallies.tallies,
        published=False,
    )
    return MaskComparison(
        str(made.folder),
        str(true.folder),
        scores,
        tuple(sorted(photos, key=lambda photo: 2.0 if photo.miou is None else photo.miou)),
        ignored / known if known else 0.0,
        only_made,
        only_true,
    )


@dataclass(frozen=True)
class _PairCounts:
    """Counts of one photo: of all pixels, their cells, and how many known ones were ignored."""

    counts: MaskCounts
    cells: Int64
    ignored: int
    known: int


def _count(made: SourceMask, true: SourceMask, classes: ClassSet, share: float) -> _PairCounts:
    mask, truth = made.read(len(classes)), true.read(len(classes))
    counts = MaskCounts.empty(len(classes))
    counts.add(truth, mask, share)
    known = truth != IGNORE
    ignored = int(np.count_nonzero(known & (mask == IGNORE)))
    return _PairCounts(counts, counts.confusion.cells(), ignored, int(np.count_nonzero(known)))


def _check_same_classes(made: MaskSource, true: MaskSource) -> None:
    """Check that two folders number the same classes.

    Raises:
        DataError: they don't.
    """
    if made.classes != true.classes:
        raise DataError(
            f"the masks have the classes {first_few(made.classes.names)}, those to compare with "
            f"{first_few(true.classes.names)}",
            where=made.folder,
            fix="Give masks with the same classes in the same order, or convert them with "
            "`tag2mask masks import`.",
        )


def _pairs(
    made: MaskSource, true: MaskSource
) -> tuple[list[tuple[SourceMask, SourceMask]], tuple[str, ...], tuple[str, ...]]:
    """Return the masks of both folders that belong together, and the ids of the others."""
    found = matched_ids([mask.id for mask in made.masks], [mask.id for mask in true.masks])
    by_id = {mask.id: mask for mask in true.masks}
    pairs = [(mask, by_id[found[mask.id]]) for mask in made.masks if mask.id in found]
    only_made = tuple(mask.id for mask in made.masks if mask.id not in found)
    taken = set(found.values())
    only_true = tuple(id for id in by_id if id not in taken)
    if not pairs:
        raise DataError(
            f"no mask has the name of one in {true.folder}: {first_few(only_made, 3)} here, "
            f"{first_few(only_true, 3)} there",
            where=made.folder,
            fix="Give two folders with masks of the same photos.",
        )
    return pairs, only_made, only_true


def matched_ids(ids: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return for each id the other id of the same photo, where exactly one may be it.

    Two ids are of the same photo where they are equal, or one ends in all folders and the name of
    the other, such as ``images/0001`` and ``0001``.
    """
    same = {id: id for id in set(ids) & set(others)}
    rest = [id for id in ids if id not in same]
    by_name: dict[str, list[str]] = {}
    for other in others:
        if other not in same:
            by_name.setdefault(PurePosixPath(other).name, []).append(other)
    found: dict[str, list[str]] = {}
    for id in rest:
        candidates = by_name.get(PurePosixPath(id).name, ())
        found[id] = [other for other in candidates if _is_end(id, other) or _is_end(other, id)]
    wanted = Counter(other for candidates in found.values() for other in candidates)
    same |= {
        id: candidates[0]
        for id, candidates in found.items()
        if len(candidates) == 1 and wanted[candidates[0]] == 1
    }
    return same


def _is_end(end: str, path: str) -> bool:
    return path.endswith(f"/{end}")


def _check_sizes(pairs: Iterable[tuple[SourceMask, SourceMask]]) -> None:
    """Check the sizes of all masks.

    Raises:
        ProblemsError: naming all that differ, or can't be read.
    """
    problems = []
    for made, true in pairs:
        try:
            own, other = made.size(), true.size()
        except DataError as error:
            problems.append(f"{made.id}: {error.what}")
            continue
        if own != other:
            problems.append(f"{made.id}: {own[1]}x{own[0]} px, the true mask {other[1]}x{other[0]}")
    if problems:
        raise ProblemsError(
            f"{len(problems)} masks can't be compared",
            problems,
            fix="Give masks of the same sizes.",
        )


def comparison_table(found: MaskComparison) -> str:
    """Return the scores as Markdown tables, readable in a terminal."""
    scores = found.scores
    rows = [
        ("photos", str(scores.photos)),
        ("mIoU", percent_with_interval(scores.miou, scores.miou_interval, _DIGITS)),
        ("boundary IoU", percent(scores.boundary_miou, _DIGITS)),
        ("precision", percent(scores.precision, _DIGITS)),
        ("recall", percent(scores.recall, _DIGITS)),
        ("pixel accuracy", percent(scores.pixel_accuracy, _DIGITS)),
        *(
            [("ignored pixels", percent(found.ignored_share, _DIGITS))]
            if found.ignored_share
            else []
        ),
    ]
    worst = [photo for photo in found.photos if photo.miou is not None][:_WORST]
    tables = [
        markdown_table(("%", "masks"), rows),
        class_table("masks", scores),
        markdown_table(
            ("worst photos", "mIoU, %"),
            [(photo.id, percent(photo.miou, _DIGITS)) for photo in worst],
        ),
    ]
    return "\n\n".join(tables)


def plot_comparison(found: MaskComparison, path: Path) -> None:
    """Draw IoU and boundary IoU of each class into a PNG.

    Raises:
        RunFolderError: it can't be written.
    """
    kinds = (("IoU", "iou", False), ("boundary IoU", "boundary_iou", True))
    rows = []
    for scores in found.scores.classes:
        values = [(text, getattr(scores, name), hollow) for text, name, hollow in kinds]
        dots = [
            Dot(100 * value, None, f"{text} {percent(value)}", place, hollow)
            for place, (text, value, hollow) in enumerate(values)
            if value is not None
        ]
        rows.append((scores.name, dots))
    label = "IoU (filled) and boundary IoU (hollow), %"
    with atomic_write(path) as temporary:
        save_png(dot_figure(rows, x_label=label), temporary)


def write_comparison(found: MaskComparison, path: Path) -> None:
    """Write the scores as JSON.

    Raises:
        RunFolderError: the file can't be written.
    """
    write_json(path, asdict(found))
