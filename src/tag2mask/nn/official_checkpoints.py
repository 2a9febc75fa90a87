"""Names in the authors' checkpoints."""

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
"""Names of the authors' heads -> names of ``SeamNet``'s."""

AFFINITYNET_HEAD_NAMES = {
    "f8_3.weight": "embed_low.weight",
    "f8_4.weight": "embed_mid.weight",
    "f8_5.weight": "embed_last.weight",
    "f9.weight": "fuse.weight",
}
"""Names of psa's AffinityNet heads -> names of ``AffinityNet``'s."""

_OFFICIAL_BACKBONE = re.compile(r"(conv1a|b[2-7](_\d+)?|bn7)\.")


def official_seam_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the authors' SEAM tensors to ``SeamNet``'s; a state in our names comes back as it is.

    ``fc8`` -> ``head``, ``f8_3`` and ``f8_4`` -> ``pcm.embed_low`` and ``pcm.embed_mid``, ``f9`` ->
    ``pcm.fuse``, ResNet-38's tensors under ``backbone.``. Other names stay, so that
    :func:`load_into` names them.

    Args:
        state: of ``resnet38_SEAM.pth``, as :func:`load_state` returns it.
    """
    return _renamed(state, SEAM_HEAD_NAMES)


def official_affinity_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename psa's AffinityNet tensors to ``AffinityNet``'s, as `official_seam_state` does SEAM's.

    ``f8_3``, ``f8_4`` and ``f8_5`` -> ``embed_low``, ``embed_mid`` and ``embed_last``, ``f9`` ->
    ``fuse``, ResNet-38's tensors under ``backbone.``.

    Args:
        state: of ``resnet38_aff.pth``, as :func:`load_state` returns it.
    """
    return _renamed(state, AFFINITYNET_HEAD_NAMES)


def official_deeplab_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put ResNet-38's tensors of a DeepLab v1 under ``backbone.``; its heads keep their names."""
    return _renamed(state, {})


def _renamed(state: Mapping[str, Tensor], heads: Mapping[str, str]) -> dict[str, Tensor]:
    return {
        heads.get(name, f"backbone.{name}" if _OFFICIAL_BACKBONE.match(name) else name): tensor
        for name, tensor in state.items()
    }
