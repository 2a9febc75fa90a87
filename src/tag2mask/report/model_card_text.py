"""An exported network's model card as Markdown: use, classes, training, metrics and license.

The headings follow Mitchell et al., "Model Cards for Model Reporting" (2019,
https://arxiv.org/abs/1810.03993), as far as a run folder has the information.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from tag2mask.artifacts.handles import MASKS_MADE_BY, SegmenterModel, section_name
from tag2mask.evaluation.tables import markdown_table, rates_table
from tag2mask.evaluation.wording import (
    given_masks_text,
    percent,
    percent_with_interval,
    threshold_text,
)
from tag2mask.report.model_card import ModelCard, license_text
from tag2mask.report.page import hex_color
from tag2mask.segmentation.inference.export_spec import ONNX_FILE, TORCH_FILE, DecisionRule
from tag2mask.text.escaping import markdown_block, markdown_code, markdown_text

_USE = {
    ONNX_FILE: """
```sh
tag2mask predict PHOTOS --model model.onnx --out DIR
python predict.py PHOTOS --out DIR  # needs numpy, Pillow and onnxruntime alone
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


def markdown(card: ModelCard) -> str:
    """Return the card as Markdown."""
    spec = card.spec
    parts = [
        f"# {_name(card.name)}",
        f"A segmentation network ({_name(spec.architecture)} on {_name(spec.encoder)}, "
        f"output stride {spec.output_stride}, {card.parameters:,} weights) that labels every pixel "
        f"of a photo as background or one of {len(spec.classes)} classes. Exported by tag2mask "
        f"{_name(spec.tag2mask)}.",
        markdown_table(
            ("file", "format", "MB", "largest difference of logits", "sha256"),
            [
                (
                    markdown_code(file.name),
                    file.format,
                    f"{file.bytes / 1e6:.1f}",
                    f"{file.largest_difference:.1g}",
                    markdown_code(file.sha256),
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
        f"The files compute in {spec.precision}. Their labels are those of the network in "
        f"{spec.precision}; where `predict` runs the network in bf16, up to 0.2 % of the pixels "
        "differ.",
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
        *_decisions(spec.decisions),
        "## Training",
        *_training(card),
        "## Metrics",
        *_metrics(card),
        "## License",
        markdown_text(license_text(card.training)),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return "\n\n".join([*parts, f"Exported with {_name(versions)}."]) + "\n"


def _decisions(rule: DecisionRule | None) -> list[str]:
    if rule is None:
        return []
    table = markdown_table(
        ("class", "area, %", "confidence, %", "target", "missed", "false alarms"),
        [
            (
                name,
                percent(each.area),
                percent(each.confidence),
                f"{each.miss_rate:g}",
                f"{each.missed} of {each.with_class}",
                f"{each.false_alarms} of {each.without_class}",
            )
            for name, each in rule.classes.items()
        ],
    )
    calibration = (
        "The confidence is not calibrated"
        if rule.temperature_from is None
        else f"The confidence is calibrated on {rule.temperature_from} "
        f"(temperature {rule.temperature:g})"
    )
    return [
        "## Decisions",
        "A photo is decided to show a class where the class covers at least this area, with at "
        "least this mean confidence. The minima were chosen on the validation photos; "
        f"{rule.units} missed and falsely found are cross-fitted. {calibration}.",
        table,
    ]


def _training(card: ModelCard) -> list[str]:
    parts = []
    if card.data is not None:
        parts.append(
            markdown_text(
                f"Data: {card.data['name']} (layout {card.data['layout']}): "
                f"{_counts(card.data['counts'])}."
            )
        )
    if card.training is None:
        return [*parts, "How it was trained is not recorded next to the network's file."]
    training, section = card.training, card.training["section"]
    if "imported" in section:
        return [*parts, f"It was trained elsewhere and imported from {_name(section['imported'])}."]
    if "masks" not in section:  # a folder made by hand
        return [*parts, "How it was trained is not recorded."]
    made_by = training["metrics"].get(MASKS_MADE_BY)
    source = (
        "ground truth masks"
        if section["masks"] == "ground truth"
        else "pseudo masks, made from image-level tags and not checked by hand"
        if made_by is None
        else imported_masks_text(made_by)
    )
    if _is_corrected(card):
        source += ", and masks that a person drew or accepted"
    versions = ", ".join(f"{name} {v}" for name, v in training["finished_with"].items())
    fragment = yaml.safe_dump({section_name(SegmenterModel.step): section}, sort_keys=False)
    return [
        *parts,
        f"It was trained on {source}: {_name(_counts(training['counts']))}; "
        f"{_name(training['metrics'].get('steps', '?'))} steps with {_name(versions)}.",
        markdown_block(fragment, "yaml"),
    ]


def imported_masks_text(made_by: str) -> str:
    """Return what imported masks are, by who made them: ``drawn`` or ``model:NAME``."""
    kind, colon, name = made_by.partition(":")
    return given_masks_text(f"{kind}{colon}{_name(name)}" if name else kind)


def _is_corrected(card: ModelCard) -> bool:
    """Return whether a person drew or accepted masks of the training."""
    counts = (card.training or {}).get("counts", {})
    return any(counts.get(kind) for kind in ("drawn", "imported", "accepted"))


def _metrics(card: ModelCard) -> list[str]:
    if not card.scores:
        return [
            "No ground truth masks, or no evaluation next to the network.",
            *_rates(card),
        ]
    rows = [
        (
            row.split,
            str(row.photos),
            row.masks_of,
            row.tags,
            threshold_text(row.background_threshold, row.background_source),
            percent_with_interval(row.miou, row.miou_interval),
            *map(percent, (row.precision, row.recall)),
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
            f"Not scored: {_counts(card.left_out)} photos, because settings were chosen on them"
            + (", or because a person drew or accepted their masks." * _is_corrected(card) or ".")
        )
    return [*parts, *_rates(card)]


def _rates(card: ModelCard) -> list[str]:
    """Return the rates against tags, with what they mean; empty if they were not measured."""
    if not card.rates:
        return []
    area = percent(next(iter(card.rates.values())).min_area, 2)
    return [
        f"Missed photos and false alarms, against the tags: a photo shows a class from {area} % of "
        "its area on. In brackets: 95 % intervals.",
        *(rates_table(split, rates) for split, rates in card.rates.items()),
    ]


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


def _name(value: object) -> str:
    """Return a value from a file as Markdown."""
    return markdown_text(str(value))


def _and(words: Iterable[str]) -> str:
    """Join words by commas and "and"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
