"""The step folders by type: a handle is a complete folder of one step, and nothing else fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from tag2mask.artifacts.manifest import MANIFEST, Manifest, _read_record, read_identity
from tag2mask.errors import MissingFileError, RunFolderError


@dataclass(frozen=True)
class Handle:
    """A complete step folder; made by ``open`` or by the step that wrote it."""

    path: Path
    step: ClassVar[str] = ""
    in_run: ClassVar[bool] = True
    """Whether ``tag2mask run`` makes it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Files without which a folder isn't complete, whatever its manifest says."""

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Return the handle of a complete folder.

        Raises:
            RunFolderError: missing, unfinished, damaged, or the folder of another step.
        """
        folder = Path(path)
        command = f"tag2mask {cls.step}"
        if not folder.is_dir():
            raise RunFolderError(
                f"no {cls.step} folder",
                where=folder,
                fix=f"Run `{command}` first, or correct the path.",
            )
        found = read_identity(folder)
        if found is None:
            raise RunFolderError(
                f"not a {cls.step} folder: it has no {MANIFEST}",
                where=folder,
                fix=f"Give the folder that `{command}` wrote.",
            )
        if found.step != cls.step:
            raise RunFolderError(
                f"this folder holds {found.step}, not {cls.step}",
                where=folder,
                fix=f"Give the folder that `{command}` wrote.",
            )
        if not isinstance(found, Manifest):
            raise RunFolderError(
                f"{cls.step} is unfinished", where=folder, fix=f"Run `{command}` again: it resumes."
            )
        if missing := missing_files(cls, folder):
            raise MissingFileError(
                f"{missing[0]} is missing",
                where=folder,
                fix=f"Put it back, or run `{command}` again: it makes it anew.",
            )
        return cls(folder)

    @property
    def manifest(self) -> Manifest:
        """The manifest, read anew.

        Raises:
            RunFolderError: missing or damaged.
        """
        return _read_record(self.path / MANIFEST, Manifest)

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of everything this folder was made from."""
        return self.manifest.fingerprint


@dataclass(frozen=True)
class PreparedData(Handle):
    """``prepare``: the samples of each split and the classes."""

    step = "prepare"


@dataclass(frozen=True)
class CamModel(Handle):
    """``train-cam``: a trained network with its CAM head."""

    step = "train-cam"
    needs = ("model.safetensors",)


@dataclass(frozen=True)
class CamMaps(Handle):
    """``infer-cam``: one map file a photo."""

    step = "infer-cam"


WITHOUT_SURE_PIXELS = "without_sure_pixels"
"""Key of counts and metrics: photos in whose affinity labels no pixel is sure."""


@dataclass(frozen=True)
class AffinityLabels(Handle):
    """``affinity-labels``: one palette PNG a training photo, 255 where unsure."""

    step = "affinity-labels"


@dataclass(frozen=True)
class AffinityModel(Handle):
    """``train-affinity``: a trained AffinityNet."""

    step = "train-affinity"
    needs = ("model.safetensors",)


@dataclass(frozen=True)
class WalkedMaps(Handle):
    """``walk``: one map file a photo, as ``infer-cam`` writes them, after the random walk."""

    step = "walk"


@dataclass(frozen=True)
class Tuning(Handle):
    """``tune``: the settings of the walk that are best on a few masked photos."""

    step = "tune"
    in_run = False


@dataclass(frozen=True)
class PseudoMaskFolder(Handle):
    """``pseudo-masks``: one palette PNG a photo."""

    step = "pseudo-masks"


@dataclass(frozen=True)
class SegmenterModel(Handle):
    """``train-segmenter``: a segmentation network, trained on masks."""

    step = "train-segmenter"
    needs = ("model.safetensors",)


@dataclass(frozen=True)
class Predictions(Handle):
    """``predict``: what the segmentation network says of photos, one palette PNG each."""

    step = "predict"


@dataclass(frozen=True)
class Export(Handle):
    """``export``: a segmentation network as files for other programs, with its model card."""

    step = "export"
    in_run = False


@dataclass(frozen=True)
class Evaluation(Handle):
    """``evaluate``: scores of maps, masks and tags."""

    step = "evaluate"
    needs = ("evaluation.json",)


@dataclass(frozen=True)
class ReportPage(Handle):
    """``report``: the HTML page."""

    step = "report"


AnyMaps = CamMaps | WalkedMaps
"""Folders of map files; masks are made of either, and either is scored."""


WALKED_MAPS = "walked maps"
"""Name of walked maps among what masks were made from; those of ``infer-cam`` are ``maps``."""


def open_maps(path: Path | str) -> AnyMaps:
    """Return the handle of a complete folder of maps, of whichever step.

    Raises:
        RunFolderError: missing, unfinished, damaged, or no folder of maps.
    """
    folder = Path(path)
    found = read_identity(folder)
    if found is None or found.step == CamMaps.step:
        return CamMaps.open(folder)
    if found.step == WalkedMaps.step:
        return WalkedMaps.open(folder)
    raise RunFolderError(
        f"this folder holds {found.step}, not maps",
        where=folder,
        fix=f"Give the folder that `tag2mask {CamMaps.step}` or `tag2mask {WalkedMaps.step}` "
        "wrote.",
    )


def missing_files(kind: type[Handle], folder: Path) -> list[str]:
    """Those of the files that a complete folder needs that are not there."""
    return [name for name in kind.needs if not (folder / name).is_file()]


HandleT = TypeVar("HandleT", bound=Handle)

REPORTED_STEPS: tuple[type[Handle], ...] = (
    PreparedData,
    CamModel,
    CamMaps,
    AffinityLabels,
    AffinityModel,
    WalkedMaps,
    PseudoMaskFolder,
    SegmenterModel,
    Predictions,
    Evaluation,
)
"""Steps that the page tells of, in the order of a run."""

TRAINED: tuple[type[Handle], ...] = (CamModel, AffinityModel, SegmenterModel)
"""Those that train, and log it."""

STEPS: tuple[type[Handle], ...] = (
    PreparedData,
    CamModel,
    CamMaps,
    AffinityLabels,
    AffinityModel,
    WalkedMaps,
    PseudoMaskFolder,
    SegmenterModel,
    Predictions,
    Evaluation,
    ReportPage,
)
"""All steps in order."""
MODELS = (CamModel, AffinityModel, SegmenterModel)
"""Trained networks, which a change of the data may keep."""
