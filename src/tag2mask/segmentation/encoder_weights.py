"""Load the weights of a timm model into the encoder of a segmentation network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from tag2mask.nn.backbones.build import classifier_names, timm_state
from tag2mask.nn.backbones.timm_models import create_timm
from tag2mask.nn.weights import load_into
from tag2mask.segmentation.encoder_decoder import EncoderDecoder


def load_encoder(net: EncoderDecoder, name: str, weights: str) -> None:
    """Load the weights of a timm model into the encoder.

    The encoder is a timm model without its classifier and without layers after its last feature
    map; their weights are ignored.

    Args:
        net: the network.
        name: timm's name of the encoder.
        weights: ``packaged``, ``hub`` or a file; see `build_backbone`.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    encoder: nn.Module = net.net.encoder.model
    complete = create_timm(name, 32, pretrained=weights == "hub", setting="network")
    where: str | Path = "network.weights"
    if weights == "hub":
        state = complete.state_dict()
    else:
        state, where = timm_state(complete, name, weights, setting="network.weights")
    own = encoder.state_dict()
    ignored = tuple(
        tensor for tensor in complete.state_dict() if _kept_name(tensor, own) not in own
    )
    load_into(
        encoder,
        {_kept_name(tensor, own): value for tensor, value in state.items()},
        where=where,
        allow_unexpected=(*ignored, *classifier_names(complete)),
    )


def _kept_name(name: str, own: Iterable[str]) -> str:
    """Return the name of a tensor in timm's feature extractor, which may flatten the first dot."""
    flattened = name.replace(".", "_", 1)
    return flattened if flattened in own else name
