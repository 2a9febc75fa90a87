"""Tensor names in the authors' checkpoints, and their names in this package's networks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

SEAM_HEAD_NAMES = {
    "fc8.weight": "head.weight",
    "f8_3.weight": "pcm.embed_low.weight",
    "f8_4.weight": "pcm.embed_mid.weight",
    "f9.weight": "pcm.fuse.weight",
}
"""Heads in the authors' SEAM checkpoint -> names in ``SeamNet``."""

AFFINITYNET_HEAD_NAMES = {
    "f8_3.weight": "embed_low.weight",
    "f8_4.weight": "embed_mid.weight",
    "f8_5.weight": "embed_last.weight",
    "f9.weight": "fuse.weight",
}
"""Heads in psa's AffinityNet checkpoint -> names in ``AffinityNet``."""

_OFFICIAL_BACKBONE = re.compile(r"(conv1a|b[2-7](_\d+)?|bn7)\.")


def official_seam_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the authors' SEAM checkpoint to those of ``SeamNet``.

    ``fc8`` -> ``head``, ``f8_3`` and ``f8_4`` -> ``pcm.embed_low`` and ``pcm.embed_mid``, ``f9`` ->
    ``pcm.fuse``, ResNet-38's tensors under ``backbone.``. Other names stay, so that
    :func:`load_into` reports them; a state in ``SeamNet``'s names is returned as it is.

    Args:
        state: tensors of ``resnet38_SEAM.pth``, as :func:`load_state` returns them.
    """
    return _renamed(state, SEAM_HEAD_NAMES)


def official_affinity_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of psa's AffinityNet checkpoint to those of ``AffinityNet``.

    ``f8_3``, ``f8_4`` and ``f8_5`` -> ``embed_low``, ``embed_mid`` and ``embed_last``, ``f9`` ->
    ``fuse``, ResNet-38's tensors under ``backbone.``.

    Args:
        state: tensors of ``resnet38_aff.pth``, as :func:`load_state` returns them.
    """
    return _renamed(state, AFFINITYNET_HEAD_NAMES)


def official_deeplab_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prefix ResNet-38's tensors of a DeepLab v1 with ``backbone.``; the head keeps its names."""
    return _renamed(state, {})


def _renamed(state: Mapping[str, Tensor], heads: Mapping[str, str]) -> dict[str, Tensor]:
    return {
        heads.get(name, f"backbone.{name}" if _OFFICIAL_BACKBONE.match(name) else name): tensor
        for name, tensor in state.items()
    }
