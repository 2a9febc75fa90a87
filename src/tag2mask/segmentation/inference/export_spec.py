"""What an exported network's file says of the network: the same record in every format.

With it the file alone suffices to label photos; nothing here imports torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from tag2mask.errors import WeightsError

KEY = "tag2mask_segmenter"
"""Of the record among a file's metadata."""
FORMAT = 1
"""Of the record."""
ONNX_FORMAT, TORCH_FORMAT = "onnx", "torch"
FORMATS = (ONNX_FORMAT, TORCH_FORMAT)
"""Kinds of files that a network is exported to."""
IMAGE, LOGITS = "image", "logits"
"""Names of a network's input and output."""


@dataclass(frozen=True)
class ExportedSpec:
    """What there is to know of a network in order to use it.

    Attributes:
        format: of this record.
        tag2mask: version that wrote it.
        classes: names of the foreground classes (C).
        colors: RGB 0..255 by mask id (C+1).
        mean: of red, green and blue in [0, 1], subtracted from an image.
        std: by which an image is then divided.
        size_multiple: sides of images must be multiples of it, px.
        long_side: the photo's long side at scale 1 when it was trained, px.
        architecture: name of the decoder.
        encoder: name of the network under it.
        output_stride: image pixels per cell of the encoder's last map.
    """

    format: int
    tag2mask: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size_multiple: int
    long_side: int
    architecture: str
    encoder: str
    output_stride: int

    def to_json(self) -> str:
        """As it stands in a file."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def _check(self) -> None:
        """Refuse with ValueError what no network can have."""
        if (
            len(self.colors) != len(self.classes) + 1
            or min(self.std) <= 0
            or min(self.size_multiple, self.long_side) < 1
        ):
            raise ValueError(self)

    @classmethod
    def from_json(cls, text: str, *, where: Path) -> Self:
        """Read what `to_json` wrote.

        Raises:
            WeightsError: of another format, or damaged.
        """
        try:
            values = json.loads(text)
            found = values["format"]
            if type(found) is not int:
                raise TypeError(found)
            if found == FORMAT:
                spec = TypeAdapter(cls).validate_python(values)
                spec._check()
                return spec
        except (ValueError, TypeError, KeyError, ValidationError):
            raise WeightsError(
                "what the file says of its network can't be read",
                where=where,
                fix="Export the network again.",
            ) from None
        raise WeightsError(
            f"an exported network of format {found}; this version of tag2mask reads {FORMAT}",
            where=where,
            fix=f"Use tag2mask {values.get('tag2mask', 'in the version')} that wrote "
            "it, or export the network again.",
        )
