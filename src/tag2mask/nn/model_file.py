"""One self-describing file for a trained network: safetensors with its specification as metadata.

A model needs no recipe and no run folder to be used again; the authors' released ``.pth`` files are
read through the same door.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from tag2mask.errors import WeightsError

KEY = "tag2mask"
AFFINITY_KEY = "tag2mask_affinity"
SEGMENTER_KEY = "tag2mask_segmenter"

Spec = TypeVar("Spec")


class _Kind(NamedTuple):
    name: str
    fix: str


_KINDS = {
    KEY: _Kind(
        "a CAM model", "Give a model.safetensors written by train-cam, or an official SEAM .pth."
    ),
    AFFINITY_KEY: _Kind(
        "an AffinityNet",
        "Give a model.safetensors written by train-affinity, or an official AffinityNet .pth.",
    ),
    SEGMENTER_KEY: _Kind(
        "a segmentation network",
        "Give a model.safetensors written by train-segmenter, or an official DeepLab .pth.",
    ),
}
"""Key of the specification in a file's metadata -> what the file holds."""


def write_model(path: Path, net: nn.Module, key: str, spec: Any) -> None:
    """`save_seam` for any kind of network; ``key`` is the kind's, ``spec`` a dataclass."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    path.write_bytes(save(state, metadata={key: json.dumps(dataclasses.asdict(spec))}))


def read_model_spec(path: Path, key: str, kind: Callable[..., Spec]) -> Spec:
    """The specification inside a model file of some kind.

    Args:
        path: the file.
        key: of the kind.
        kind: makes the specification from its fields.

    Raises:
        WeightsError: missing, cut off, no model, one of another kind or of another version.
    """
    fix = _KINDS[key].fix
    if not path.is_file():
        raise WeightsError("no such model file", where=path, fix=fix)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"not a model file, or cut off ({error})", where=path, fix=fix) from None
    if key not in metadata:
        other = next((kind.name for k, kind in _KINDS.items() if k in metadata), None)
        what = (
            f"this is {other}, not {_KINDS[key].name}"
            if other
            else "this safetensors file holds no tag2mask model"
        )
        raise WeightsError(what, where=path, fix=fix)
    try:
        values: dict[str, Any] = json.loads(metadata[key])
        for name, value in values.items():
            values[name] = tuple(value) if isinstance(value, list) else value
        return kind(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"a model of another version of tag2mask ({error})",
            where=path,
            fix="Use the version that wrote it, or train again.",
        ) from None
