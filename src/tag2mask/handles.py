"""The step folders by type: a handle is a complete folder of one step, and nothing else fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tag2mask.errors import RunFolderError
from tag2mask.manifests import Handle, read_identity


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
        f"this folder holds {found.step}, not maps", where=folder,
        fix=f"Give the folder that `tag2mask {CamMaps.step}` or `tag2mask {WalkedMaps.step}` "
            "wrote.",
    )
