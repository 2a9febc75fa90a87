"""Typed handles of step folders.

A handle is a complete folder of one step: a function that takes a ``CamModel`` can't be given the
folder of another step, or an unfinished one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from tag2mask.errors import MissingFileError, RunFolderError

if TYPE_CHECKING:
    from tag2mask.artifacts.manifest import Manifest

# ``artifacts.manifest`` is imported where it is used: pydantic would double the time of ``--help``.

MODEL_FILE = "model.safetensors"
"""Name of the trained network in the folder of a training step."""


@dataclass(frozen=True)
class Handle:
    """A complete step folder, returned by ``open`` or by the step that wrote it.

    Attributes:
        path: the folder.
        step: the name of the step, the same for its command, folder and docs page.
        needs: files without which the folder isn't complete, whatever its manifest says.
    """

    path: Path
    step: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Return the handle of a complete folder.

        Raises:
            RunFolderError: missing, unfinished, damaged, or the folder of another step.
        """
        from tag2mask.artifacts.manifest import MANIFEST, Manifest, not_of_step, read_identity

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
                fix=f"Give the folder that `{command}` wrote. If its {MANIFEST} was lost, delete "
                f"the folder and run `{command}` again.",
            )
        if found.step != cls.step:
            raise not_of_step(found, cls.step, folder, f"Give the folder that `{command}` wrote.")
        if not isinstance(found, Manifest):
            raise RunFolderError(
                f"{cls.step} is unfinished", where=folder, fix=f"Run `{command}` again: it resumes."
            )
        if missing := missing_files(cls, folder):
            raise MissingFileError(
                f"{missing[0]} is missing",
                where=folder,
                fix=f"Put it back, or run `{command}` again: it writes the file again.",
            )
        return cls(folder)

    @property
    def manifest(self) -> Manifest:
        """The manifest, read from the disk each time.

        Raises:
            RunFolderError: missing or damaged.
        """
        from tag2mask.artifacts.manifest import MANIFEST, Manifest, read_record

        return read_record(self.path / MANIFEST, Manifest)

    def metric(self, key: str) -> Any:
        """Return one of the manifest's metrics.

        Raises:
            RunFolderError: the manifest lacks it, is missing or damaged.
        """
        metrics = self.manifest.metrics
        if key not in metrics:
            raise RunFolderError(
                f"manifest.json lacks {key!r} in its metrics",
                where=self.path,
                fix="Delete the folder and run the step again.",
            )
        return metrics[key]

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of everything this folder was made from."""
        return self.manifest.fingerprint


@dataclass(frozen=True)
class TrainedModel(Handle):
    """A folder with a trained network."""

    needs = (MODEL_FILE,)

    @property
    def file(self) -> Path:
        """The file of the trained network."""
        return self.path / MODEL_FILE


@dataclass(frozen=True)
class PreparedData(Handle):
    """``prepare``: the samples of each split and the classes."""

    step = "prepare"


@dataclass(frozen=True)
class CamModel(TrainedModel):
    """``train-cam``: a trained network with its CAM head."""

    step = "train-cam"


@dataclass(frozen=True)
class CamMaps(Handle):
    """``infer-cam``: one map file per photo."""

    step = "infer-cam"


@dataclass(frozen=True)
class AffinityLabels(Handle):
    """``affinity-labels``: one palette PNG per training photo, 255 where unsure."""

    step = "affinity-labels"


@dataclass(frozen=True)
class AffinityModel(TrainedModel):
    """``train-affinity``: a trained AffinityNet."""

    step = "train-affinity"


@dataclass(frozen=True)
class WalkedMaps(Handle):
    """``walk``: one map file per photo after the random walk, in the format of ``infer-cam``."""

    step = "walk"


@dataclass(frozen=True)
class PseudoMaskFolder(Handle):
    """``pseudo-masks``: one palette PNG per photo."""

    step = "pseudo-masks"

    @property
    def background(self) -> tuple[float | None, str]:
        """The background threshold, None where the masks have none, and where it comes from."""
        metrics = self.manifest.metrics
        threshold = metrics.get("background_threshold")
        source = str(metrics.get("background_source", "unknown"))
        return None if threshold is None else float(threshold), source


@dataclass(frozen=True)
class SegmenterModel(TrainedModel):
    """``train-segmenter``: a segmentation network trained on masks."""

    step = "train-segmenter"


@dataclass(frozen=True)
class Predictions(Handle):
    """``predict``: masks predicted by the segmentation network, one palette PNG per photo."""

    step = "predict"


@dataclass(frozen=True)
class Evaluation(Handle):
    """``evaluate``: scores of maps, masks and tags."""

    step = "evaluate"
    needs = ("evaluation.json",)


@dataclass(frozen=True)
class ReportPage(Handle):
    """``report``: the HTML page."""

    step = "report"
    needs = ("index.html",)


@dataclass(frozen=True)
class Tuning(Handle):
    """``tune``: the settings of the walk that score best on a few masked photos; not in a run."""

    step = "tune"


@dataclass(frozen=True)
class Export(Handle):
    """``export``: a segmentation network as files for other programs; not in a run."""

    step = "export"


AnyMaps = CamMaps | WalkedMaps
"""Folders of map files, before or after the walk."""
WalkModel = AffinityModel | CamModel
"""Folders of the network whose affinities a walk follows."""
HandleT = TypeVar("HandleT", bound=Handle)

WALKED_MAPS = "walked maps"
"""Name of walked maps among the inputs of a folder; those of ``infer-cam`` are ``maps``."""
CLASS_THRESHOLDS = "class_thresholds"
"""Key of metrics: background thresholds of single classes, by name."""
IMPORTED = "imported"
"""Key of the section and metrics of imported masks: who made them, such as ``drawn``."""
MASKS_MADE_BY = "masks_made_by"
"""Key of metrics: who made the imported masks that ``train-segmenter`` learned from, or the masks
that ``evaluate`` scored without maps."""
UNDERSTOOD = "understood"
"""Key of metrics: what ``prepare`` understood of the data, in five lines."""
WITHOUT_SURE_PIXELS = "without_sure_pixels"
"""Key of counts and metrics: photos that AffinityNet skips: their labels have no sure pixel."""
WITHOUT_TAGGED_PIXELS = "without_tagged_pixels"
"""Key of counts and metrics: tagged photos whose maps or mask have no pixel of their tags."""


def walk_model(affinity: str) -> type[WalkModel]:
    """Return the handle of the network that a walk needs, by the recipe's ``walk.affinity``."""
    return CamModel if affinity == "attention" else AffinityModel


def made_by(masks: PseudoMaskFolder) -> str:
    """Return who made masks: the step `pseudo-masks`, or of imported ones ``drawn`` or a model."""
    return str(masks.manifest.metrics.get(IMPORTED, masks.step))


def section_name(step: str) -> str:
    """Return the name of a step's section of the recipe."""
    return step.replace("-", "_")


def open_maps(path: Path | str) -> AnyMaps:
    """Return the handle of a complete folder of maps, of ``infer-cam`` or ``walk``.

    Raises:
        RunFolderError: missing, unfinished, damaged, or the folder of another step.
    """
    from tag2mask.artifacts.manifest import not_of_step, read_identity

    folder = Path(path)
    found = read_identity(folder)
    if found is None or found.step == CamMaps.step:
        return CamMaps.open(folder)
    if found.step == WalkedMaps.step:
        return WalkedMaps.open(folder)
    commands = f"`tag2mask {CamMaps.step}` or `tag2mask {WalkedMaps.step}`"
    raise not_of_step(found, "maps", folder, f"Give the folder that {commands} wrote.")


def missing_files(kind: type[Handle], folder: Path) -> list[str]:
    """Return the names of the files that a complete folder needs and this one lacks."""
    return [name for name in kind.needs if not (folder / name).is_file()]
