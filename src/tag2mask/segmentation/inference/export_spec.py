"""The specification stored in the metadata of an exported network, the same for every format.

With it the exported file is self-contained: it is all that is needed to label photos. From format 2
on, keys are only added: what reads this record must ignore keys that it doesn't know.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError

from tag2mask.errors import WeightsError
from tag2mask.metrics.class_rule import ClassRule
from tag2mask.segmentation.standalone.network import FORMAT, KEY
from tag2mask.text.excerpt import shortened
from tag2mask.text.json_text import parse_json

__all__ = ["FORMAT", "KEY", "ExportedSpec", "LabelingRecord"]

ONNX_FILE, TORCH_FILE, RECORD_FILE = "model.onnx", "model.pt2", "record.json"
"""Names of an exported network's files, and of its specification next to them."""
ONNX_FORMAT, TORCH_FORMAT = "onnx", "torch"
FORMATS = (ONNX_FORMAT, TORCH_FORMAT)
"""File formats that a network can be exported to."""
IMAGE, LOGITS = "image", "logits"
"""Names of an exported network's input and output."""

_Byte = Annotated[int, Field(ge=0, le=255)]
_Positive = Annotated[float, Field(gt=0.0)]
_Side = Annotated[int, Field(ge=1, le=100_000)]


@dataclass(frozen=True)
class LabelingRecord:
    """How the run labels photos: settings of the section ``predict``, without the dense CRF.

    Attributes:
        behavior: whether probabilities or, as published, logits are averaged.
        long_side: long side of photos at scale 1, px; None: the photo's.
        scales: sizes of the views.
        flip: whether each view is also used flipped horizontally.
        tile: views with a side longer than this are computed in tiles, px.
        overlap: overlap of neighboring tiles, px.
    """

    behavior: Literal["default", "published"]
    long_side: _Side | None
    scales: Annotated[tuple[_Positive, ...], Field(min_length=1)]
    flip: bool
    tile: _Side
    overlap: Annotated[int, Field(ge=0)]

    def settings(self) -> dict[str, Any]:
        """Return the keys of the recipe's section ``predict``."""
        values = asdict(self)
        return values | {"long_side": "photo" if self.long_side is None else self.long_side}


@dataclass(frozen=True)
class DecisionRule:
    """Which classes a photo shows.

    Attributes:
        classes: the rule by class.
        units: what was counted.
        temperature: divides the logit of a confidence; 1: not calibrated.
        temperature_from: what it was fitted to; None: not calibrated.
        group: regular expression whose first group is the group in a photo's id; None: unknown.
    """

    classes: dict[str, ClassRule]
    units: Literal["photos", "groups"]
    temperature: _Positive
    temperature_from: Literal["masks", "tags"] | None
    group: str | None


@dataclass(frozen=True)
class ExportedSpec:
    """All that is needed to use an exported network.

    Attributes:
        format: version of this specification.
        tag2mask: version of tag2mask that exported the network.
        classes: names of the C foreground classes.
        colors: RGB 0..255 by mask id, C+1 of them.
        mean: mean of the input normalization, RGB in 0..1.
        std: standard deviation of the input normalization, RGB in 0..1.
        size_multiple: sides of images must be multiples of it, px.
        long_side: long side of photos at scale 1 during training, px.
        architecture: name of the architecture.
        encoder: name of the encoder.
        output_stride: image pixels per cell of the encoder's last map.
        precision: data type that the exported network computes in.
        predict: how photos are labeled.
        decisions: which classes a photo shows; None: not chosen.
    """

    format: int
    tag2mask: str
    classes: tuple[str, ...]
    colors: tuple[tuple[_Byte, _Byte, _Byte], ...]
    mean: tuple[float, float, float]
    std: tuple[_Positive, _Positive, _Positive]
    size_multiple: _Side
    long_side: _Side
    architecture: str
    encoder: str
    output_stride: _Side
    precision: Literal["float32"]
    predict: LabelingRecord
    decisions: DecisionRule | None

    def to_json(self) -> str:
        """Return the specification as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def _check(self) -> None:
        """Raise ValueError if the values are impossible."""
        if len(self.colors) != len(self.classes) + 1:
            raise ValueError(self)
        if self.decisions is not None:
            if not set(self.decisions.classes) <= set(self.classes):
                raise ValueError(self)
            if self.decisions.group is not None:
                re.compile(self.decisions.group)

    @classmethod
    def from_json(cls, text: str, *, where: Path) -> Self:
        """Read the JSON written by `to_json`.

        Args:
            text: the JSON.
            where: the file, for error messages.

        Raises:
            WeightsError: another version of the specification, or damaged.
        """
        try:
            values = parse_json(text)
            found = values["format"]
            if type(found) is not int:
                raise TypeError(found)
            if found == FORMAT:
                # The first records of this format have no decisions.
                spec = TypeAdapter(cls).validate_python({"decisions": None} | values)
                spec._check()
                return spec
        except (ValueError, TypeError, KeyError, ValidationError, re.error):
            raise WeightsError(
                "the specification of the exported network can't be read",
                where=where,
                fix="Export the network again.",
            ) from None
        writer = shortened(str(values.get("tag2mask", "in the version")), 40)
        raise WeightsError(
            f"an exported network of format {found}; this version of tag2mask reads {FORMAT}",
            where=where,
            fix="Export the network again."
            if found < FORMAT
            else f"Use tag2mask {writer} that wrote it, or export the network again.",
        )
