"""Contents of an exported network's model card, read from its run folder.

Every score comes with its split, number of photos and tag source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tag2mask.artifacts.handles import (
    WITHOUT_TAGGED_PIXELS,
    Evaluation,
    Predictions,
    PreparedData,
)
from tag2mask.artifacts.manifest import Manifest
from tag2mask.evaluation.records import (
    OWN_THRESHOLDS,
    SEGMENTER,
    EvaluationScores,
    PhotoRates,
    SplitScores,
)
from tag2mask.report.run_folder import RunFolder
from tag2mask.segmentation.inference.export_spec import ExportedSpec


@dataclass(frozen=True)
class CardFile:
    """One exported file.

    Attributes:
        bytes: size of the file.
        largest_difference: between its logits and those of the network, over the test images.
        smallest_side: the smallest image side that it accepts, px.
    """

    name: str
    format: str
    bytes: int
    sha256: str
    largest_difference: float
    smallest_side: int


@dataclass(frozen=True)
class CardScore:
    """Scores of one kind of masks on ``photos`` photos with ground truth; shares in [0, 1]."""

    split: str
    photos: int
    masks_of: str
    tags: str
    background_threshold: float | None
    background_source: str
    miou: float | None
    precision: float | None
    recall: float | None
    miou_interval: tuple[float, float] | None


@dataclass(frozen=True)
class ModelCard:
    """The content of a model card.

    Attributes:
        name: of the recipe or the run.
        spec: the specification that is also stored in the files.
        parameters: number of weights.
        files: the exported files.
        training: section, counts, metrics and versions of ``train-segmenter``; None if unknown.
        data: name, layout and counts of the photos; None if unknown.
        scores: of the network, and of the pseudo masks that it was trained on.
        rates: of the network against the tags, by split; no ground truth is needed.
        scored_with: the settings of ``predict`` that the network was scored with.
        left_out: number of photos by split that are in no score.
        versions: of the packages that exported the network.
    """

    name: str
    spec: ExportedSpec
    parameters: int
    files: tuple[CardFile, ...]
    training: dict[str, Any] | None
    data: dict[str, Any] | None
    scores: tuple[CardScore, ...]
    rates: dict[str, PhotoRates]
    scored_with: dict[str, Any] | None
    left_out: dict[str, int]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON values."""
        return {**asdict(self), "license": license_text(self.training)}


def training_of(manifest: Manifest) -> dict[str, Any]:
    """Return the part of ``train-segmenter``'s manifest that the card shows."""
    photos = ("without_masks", WITHOUT_TAGGED_PIXELS)
    metrics = {key: value for key, value in manifest.metrics.items() if key not in photos}
    return {
        "section": manifest.section,
        "counts": manifest.counts,
        "metrics": metrics,
        "finished_with": {"tag2mask": manifest.tag2mask, **manifest.versions},
    }


def data_of(run: RunFolder, model: Manifest, name: str) -> dict[str, Any] | None:
    """Return name, layout and counts of a run's photos; None if the model had other photos."""
    prepared, used = run.manifests.get(PreparedData.step), model.inputs.get("data")
    if prepared is None or used is None or used.fingerprint != prepared.fingerprint:
        return None
    return {"name": name, "layout": prepared.metrics.get("layout"), "counts": prepared.counts}


def evaluation_of(run: RunFolder, model: Manifest) -> Evaluation | None:
    """Return the run's evaluation; None unless it scored predictions of this network."""
    predictions, evaluation = (run.manifests.get(kind.step) for kind in (Predictions, Evaluation))
    if predictions is None or evaluation is None:
        return None
    scored, used = evaluation.coverage.get("predictions"), predictions.inputs.get("model")
    if (
        scored is None
        or scored.fingerprint != predictions.fingerprint
        or used is None
        or used.fingerprint != model.fingerprint
    ):
        return None
    return Evaluation(run.path / Evaluation.step)


def settings_of(run: RunFolder) -> dict[str, Any] | None:
    """Return the main settings of a run's predictions; None if the manifest has none."""
    predictions = run.manifests[Predictions.step]
    section = predictions.section
    if "scales" not in section:
        return None
    return {
        "long_side": Predictions(run.path / Predictions.step).metric("long_side"),
        "scales": section["scales"],
        "flip": section["flip"],
        "crf": section["crf"]["enabled"],
    }


def scores_of(scores: EvaluationScores) -> tuple[tuple[CardScore, ...], dict[str, int]]:
    """Return the scores for the card, and the number of photos left out by split."""
    made_by = scores.masks_made_by
    masks_of = "the pseudo masks" if made_by is None else f"the given masks ({made_by})"
    rows = tuple(row for split in scores.splits for row in _rows(split, masks_of))
    return rows, {split.split: split.left_out for split in scores.splits if split.left_out}


def rates_of(scores: EvaluationScores) -> dict[str, PhotoRates]:
    """Return the network's rates against the tags, by split."""
    return {split.split: split.rates for split in scores.splits if split.rates is not None}


def _rows(split: SplitScores, masks_of: str) -> list[CardScore]:
    rows = []
    for stage in split.stages:
        if stage.name.startswith(SEGMENTER) and stage.used is not None:
            used = stage.used
            rows.append(
                CardScore(
                    split.split,
                    stage.photos,
                    f"the network ({stage.name})",
                    stage.tag_source,
                    used.background_threshold,
                    used.background_source,
                    used.miou,
                    used.precision,
                    used.recall,
                    used.miou_interval,
                )
            )
    if rows and split.masks is not None:
        masks = split.masks
        rows.append(
            CardScore(
                split.split,
                masks.photos,
                masks_of + (f" ({OWN_THRESHOLDS})" if split.class_thresholds else ""),
                split.tag_source,
                split.background_threshold,
                split.background_source,
                masks.miou,
                masks.precision,
                masks.recall,
                masks.miou_interval,
            )
        )
    return rows


def license_text(training: Mapping[str, Any] | None) -> str:
    """Return a paragraph about the terms that apply to a network."""
    weights = (training or {}).get("section", {}).get("network", {}).get("weights")
    origin = {
        "packaged": "Its encoder started from EfficientNet-Lite's weights (Apache License 2.0), "
        "trained on ImageNet, whose terms allow research.",
        "hub": "Its encoder started from weights that timm downloaded; their license is in "
        "timm's model card. Most were trained on ImageNet, whose terms allow research.",
        "none": "It started from random weights.",
        None: "Its initial weights are not recorded.",
    }.get(weights, f"Its encoder started from weights in {weights}; their terms apply.")
    return (
        f"tag2mask, which exported this network, is under the MIT license. {origin} The "
        "owners of the training photos have rights too: whoever trained the network must decide "
        "whether it may be redistributed."
    )
