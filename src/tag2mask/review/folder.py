"""What can be reviewed: the photos of a run, or of one folder of masks, and their masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tag2mask.artifacts.handles import (
    CamMaps,
    Evaluation,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    WalkedMaps,
)
from tag2mask.artifacts.items import item_path
from tag2mask.artifacts.manifest import MANIFEST, Manifest, read_identity
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.folder import CORRECTIONS, corrections_of
from tag2mask.data.index import Sample, read_classes, read_index
from tag2mask.data.masks import mask_path
from tag2mask.data.photo_files import list_photos
from tag2mask.data.splits import SPLITS
from tag2mask.errors import RunFolderError
from tag2mask.files.stamps import file_stamp
from tag2mask.maps.cam_map import map_path
from tag2mask.report.run_folder import open_runs
from tag2mask.steps.mask_exchange.sources import prepared_of

PSEUDO, GIVEN, NETWORK, MASK = "pseudo mask", "given mask", "network", "mask"
"""Names of the masks of a photo; given: to a run that made none."""


@dataclass(frozen=True)
class ReviewPhoto:
    """One photo to review.

    Attributes:
        id: of the photo.
        image: its file.
        size: (h, w) px that it was listed with; None: unknown before it is opened.
        split: ``train``, ``val`` or empty.
        tags: class names in the data, before any correction.
    """

    id: str
    image: Path
    size: tuple[int, int] | None
    split: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class ReviewFolder:
    """A run, or a folder of predictions or of imported masks.

    Attributes:
        path: the folder.
        corrections: where decisions are written.
        classes: the foreground classes.
        photos: in the order of the index, training photos first.
        masks: folders of masks by name; the first that has a photo's mask is shown first.
        maps: folder of the step that made the maps of the pseudo masks; None: there is none.
        evaluation: its scores; None: not evaluated yet.
        stamps: fingerprint of each step's folder that is shown.
    """

    path: Path
    corrections: Path
    classes: ClassSet
    photos: tuple[ReviewPhoto, ...]
    masks: Mapping[str, Path]
    maps: Path | None
    evaluation: Path | None
    stamps: Mapping[Path, str]

    def mask_file(self, photo: str, name: str) -> Path | None:
        """Return the file of a photo's mask; None: it has none of this name."""
        folder = self.masks.get(name)
        if folder is None:
            return None
        path = item_path(folder, photo, ".png")
        return path if path.is_file() else None

    @property
    def first_masks(self) -> Path:
        """The folder of the masks that are shown first."""
        return next(iter(self.masks.values()))

    def map_file(self, photo: str) -> Path | None:
        """Return the file of a photo's maps; None: it has none."""
        if self.maps is None:
            return None
        path = map_path(self.maps, photo)
        return path if path.is_file() else None

    def is_changed(self) -> bool:
        """Return whether a step that is shown was redone since the folder was opened."""
        return any(_stamp(folder) != stamp for folder, stamp in self.stamps.items())


def open_review(
    path: Path, photos: Path | None = None, corrections: Path | None = None
) -> ReviewFolder:
    """Open a run, or a folder of predictions or of imported masks.

    Args:
        path: the folder.
        photos: the photos of a folder of predictions.
        corrections: where decisions are written; None: ``corrections/`` in a run, and beside a
            folder of masks, which may be deleted.

    Raises:
        RunFolderError: none of these, or a damaged one.
        DataError: the photos can't be listed.
    """
    if not path.is_dir():
        raise RunFolderError(
            "no run folder", where=path, fix="Give the --out of `tag2mask run` or `predict`."
        )
    found = read_identity(path)
    if found is not None and found.step == Predictions.step:
        return _predictions(path, photos, corrections or _beside(path))
    if found is not None and found.step == PseudoMaskFolder.step:
        return _masks(path, corrections or _beside(path))
    if read_identity(path / PreparedData.step) is None:
        raise RunFolderError(
            f"neither a run with a {PreparedData.step} folder nor a folder of "
            f"{Predictions.step} or {PseudoMaskFolder.step}",
            where=path,
            fix="Give the --out of `tag2mask run` or `predict`.",
        )
    return _run(path, corrections or path / CORRECTIONS)


def _beside(path: Path) -> Path:
    return path.absolute().with_name(f"{path.absolute().name}-{CORRECTIONS}")


def _run(path: Path, corrections: Path) -> ReviewFolder:
    prepared = PreparedData.open(path / PreparedData.step)
    classes, photos = _listed(prepared)
    shown = _masks_of_run(path)
    if not shown:
        raise RunFolderError(
            "no mask to review yet",
            where=path,
            fix="Let `tag2mask run` finish pseudo-masks first; where it was given masks, "
            "train-segmenter.",
        )
    maps = _complete(path, WalkedMaps, CamMaps)
    evaluation = _complete(path, Evaluation)
    return ReviewFolder(
        path,
        corrections,
        classes,
        photos,
        {name: handle.path / "masks" for name, handle in shown.items()},
        maps[0].path if maps else None,
        evaluation[0].path if evaluation else None,
        {handle.path: _stamp(handle.path) for handle in (prepared, *shown.values())},
    )


def _masks_of_run(path: Path) -> dict[str, Handle]:
    """Return the folders of a run's masks by name: its own or those it was given, the network's."""
    run = open_runs([path])[0]
    first = PSEUDO if PseudoMaskFolder.step in run.manifests else GIVEN
    found = {first: run.handle(PseudoMaskFolder), NETWORK: run.handle(Predictions)}
    return {name: handle for name, handle in found.items() if handle is not None}


def _listed(prepared: PreparedData) -> tuple[ClassSet, tuple[ReviewPhoto, ...]]:
    """Return classes and photos of prepared data, with the tags from before any correction."""
    classes = ClassSet(read_classes(prepared.path).names)
    before = corrections_of(prepared.path).decisions
    photos: list[ReviewPhoto] = []
    for split in SPLITS:
        for sample in read_index(prepared.path, split):
            tags = {classes.names[tag] for tag in sample.tags}
            if own := before.get(sample.id):
                tags = (tags - set(own.tags_added)) | set(own.tags_removed)
            photos.append(_of_sample(sample, split, tags, classes))
    return classes, tuple(photos)


def _masks(path: Path, corrections: Path) -> ReviewFolder:
    """Open imported masks, of the photos of the data that they were imported for."""
    prepared = prepared_of(PseudoMaskFolder.open(path))
    if prepared is None:
        raise RunFolderError(
            f"the {PreparedData.step} folder of these masks is missing, which has their photos",
            where=path,
            fix="Put it back, or import the masks again.",
        )
    classes, listed = _listed(prepared)
    masks, stamps = path / "masks", {path: _stamp(path)}
    photos = tuple(one for one in listed if mask_path(path, one.id).is_file())
    return ReviewFolder(path, corrections, classes, photos, {MASK: masks}, None, None, stamps)


def _predictions(path: Path, photos: Path | None, corrections: Path) -> ReviewFolder:
    made = Predictions.open(path)
    if photos is None:
        raise RunFolderError(
            "a folder of predictions doesn't say where its photos are",
            where=path,
            fix="Give the photos with --photos.",
        )
    classes = ClassSet(tuple(made.metric("classes")))
    listed = [
        ReviewPhoto(photo.id, photo.path, None, "", ())
        for photo in list_photos([photos], leave_out=path)
        if photo.problem is None and mask_path(path, photo.id).is_file()
    ]
    if not listed:
        raise RunFolderError(
            "none of these photos has a mask here", where=path, fix="Correct --photos."
        )
    masks = {NETWORK: path / "masks"}
    return ReviewFolder(
        path, corrections, classes, tuple(listed), masks, None, None, {path: _stamp(path)}
    )


def _of_sample(sample: Sample, split: str, tags: set[str], classes: ClassSet) -> ReviewPhoto:
    ordered = tuple(name for name in classes.names if name in tags)
    return ReviewPhoto(sample.id, sample.image, sample.size, split, ordered)


def _complete(path: Path, *kinds: type[Handle]) -> list[Handle]:
    """Return the handles of those steps that are complete, in order."""
    done = (kind for kind in kinds if isinstance(read_identity(path / kind.step), Manifest))
    return [kind.open(path / kind.step) for kind in done]


def _stamp(folder: Path) -> str:
    """Return size and time of a step's manifest; empty: it is being redone."""
    try:
        return file_stamp((folder / MANIFEST).stat())
    except OSError:
        return ""
