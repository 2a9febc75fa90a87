"""One self-describing file for a trained network: safetensors with its specification as metadata.

A model needs no recipe and no run folder to be used again; the authors' released ``.pth`` files are
read through the same door.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.errors import WeightsError
from tag2mask.nn.backbones import build_backbone
from tag2mask.nn.mdc import RATES, MdcHead
from tag2mask.nn.seam import SeamNet
from tag2mask.nn.weights import load_into, load_state, official_seam_state

KEY = "tag2mask"
AFFINITY_KEY = "tag2mask_affinity"
SEGMENTER_KEY = "tag2mask_segmenter"

Spec = TypeVar("Spec")


class _Kind(NamedTuple):
    name: str
    fix: str


_KINDS = {
    KEY: _Kind("a CAM model", "Give a model.safetensors written by train-cam, or an official SEAM"
                              " .pth."),
    AFFINITY_KEY: _Kind("an AffinityNet", "Give a model.safetensors written by train-affinity, or"
                                          " an official AffinityNet .pth."),
    SEGMENTER_KEY: _Kind("a segmentation network", "Give a model.safetensors written by train-"
                                                   "segmenter, or an official DeepLab .pth."),
}  # fmt: skip
"""Key of the specification in a file's metadata -> what the file holds."""


@dataclass(frozen=True)
class NetSpec:
    """All that is needed to build a CAM network again, without its weights."""

    classes: tuple[str, ...]
    backbone: str
    output_stride: int
    pcm_levels: tuple[int, int] | None = None
    pcm: bool = True
    pcm_channels: tuple[int, int] = (64, 128)
    pcm_finest: bool = False
    pcm_power: float = 1.0
    block_mib: int = 64
    dropout: float = 0.5
    head: Literal["cam", "mdc"] = "cam"
    mdc_rates: tuple[int, ...] = RATES
    mdc_channels: int = 128

    @property
    def class_set(self) -> ClassSet:
        """The foreground classes."""
        return ClassSet(self.classes)


OFFICIAL_SEAM = NetSpec(classes=VOC_NAMES, backbone="resnet38", output_stride=8)
"""The network of the authors' ``resnet38_SEAM.pth``."""


def build_net(spec: NetSpec, *, weights: str = "none") -> SeamNet:
    """Build a network.

    Args:
        spec: its shape.
        weights: ImageNet weights of the backbone: ``packaged``, ``hub``, ``none`` or a file.

    Raises:
        WeightsError: weights missing or of another network.
    """
    backbone = build_backbone(spec.backbone, weights=weights, output_stride=spec.output_stride,
                              pcm_levels=spec.pcm_levels)
    head = MdcHead(backbone.channels[2], len(spec.classes), rates=spec.mdc_rates,
                   channels=spec.mdc_channels) if spec.head == "mdc" else None
    return SeamNet(backbone, len(spec.classes), pcm=spec.pcm, pcm_channels=spec.pcm_channels,
                   pcm_finest=spec.pcm_finest, pcm_power=spec.pcm_power,
                   block_mib=spec.block_mib, dropout=spec.dropout, head=head)


def save_net(path: Path, net: SeamNet, spec: NetSpec) -> None:
    """Write weights and specification to ``path`` (the caller makes it atomic).

    Raises:
        OSError: full disk, no permission (safetensors' own writer hides these).
    """
    write_model(path, net, KEY, spec)


def write_model(path: Path, net: nn.Module, key: str, spec: Any) -> None:
    """`save_net` for any kind of network; ``key`` is the kind's, ``spec`` a dataclass."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    path.write_bytes(save(state, metadata={key: json.dumps(dataclasses.asdict(spec))}))


def load_net(path: Path) -> tuple[SeamNet, NetSpec]:
    """Read a model file: ours, or an official SEAM ``.pth``.

    Returns:
        The network in evaluation mode, and its specification.

    Raises:
        WeightsError: missing, cut off, not a model, or of another network.
    """
    if path.suffix != ".safetensors":
        spec = OFFICIAL_SEAM
        net = build_net(spec)
        load_into(net, official_seam_state(load_state(path)), where=path)
    else:
        spec = read_spec(path)
        net = build_net(spec)
        load_into(net, load_state(path), where=path)
    return net.eval(), spec


def read_spec(path: Path) -> NetSpec:
    """The specification inside one of our CAM model files."""
    return read_model_spec(path, KEY, NetSpec)


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
        what = (f"this is {other}, not {_KINDS[key].name}" if other
                else "this safetensors file holds no tag2mask model")
        raise WeightsError(what, where=path, fix=fix)
    try:
        values: dict[str, Any] = json.loads(metadata[key])
        for name, value in values.items():
            values[name] = tuple(value) if isinstance(value, list) else value
        return kind(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"a model of another version of tag2mask ({error})", where=path,
                           fix="Use the version that wrote it, or train again.") from None
