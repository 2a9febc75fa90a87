"""Build timm models, and read their features as maps of the photo.

Transformers are built so that they read photos of any size: their positions are interpolated, and
sides that their patches don't divide are padded by zeros.
"""

from __future__ import annotations

from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from tag2mask.errors import RecipeError, WeightsError, first_line

PROBE_CELLS = (6, 8)
PROBE_CELL = 16
"""Side of a cell of the probe, px, for all networks whose patches fit it."""
ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)
"""Options with which timm's transformers read photos of any size; each family knows others."""
HUB_FILE = "model.safetensors"
"""Name of a model's file of weights on timm's hub."""
CHOOSE = (
    "Choose a convolutional model, such as resnet50 or convnext_tiny, or a ViT, such as "
    "vit_small_patch16_224."
)


def create_timm(
    name: str, output_stride: int, *, pretrained: bool, setting: str = "backbone"
) -> Any:
    """Build a timm model without its classifier, dilated if timm supports that.

    Args:
        name: timm's name.
        output_stride: 8, 16 or 32; a model that can't be dilated keeps its own stride.
        pretrained: whether timm downloads its weights.
        setting: recipe key of the network, for error messages.

    Raises:
        RecipeError: no such model.
        WeightsError: timm's weights can't be downloaded.
    """
    if not timm.is_model(name) or not _known_tag(name):
        raise RecipeError(
            f"no backbone {name!r}",
            where=f"{setting}.name",
            fix="Name 'resnet38' or a model that timm.list_models() lists.",
        )
    sizes = ANY_SIZE if _fixed_size(name) else ({},)
    for attempt in [
        {**size, **stride} for size in sizes for stride in ({"output_stride": output_stride}, {})
    ]:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **attempt)
        except (TypeError, AssertionError, NotImplementedError):
            continue  # the builder lacks this option; the stride is checked afterwards
        except Exception as error:
            if not pretrained:
                raise
            # timm, its hub and their HTTP clients each raise exceptions of their own.
            raise _not_downloaded(name, error, f"{setting}.weights") from None
    raise RecipeError(f"timm can't build {name}", where=f"{setting}.name", fix="Choose another.")


def _not_downloaded(name: str, error: Exception, key: str) -> WeightsError:
    """Return the error for weights that timm could not load, with the file to give instead."""
    file = weights_url(name)
    if file is None:
        return WeightsError(
            f"timm has no weights of {name}",
            where=key,
            fix=f"Set {key} to the path of a file or to none, or choose another network.",
        )
    return WeightsError(
        f"timm's weights of {name} can't be downloaded ({first_line(error)})",
        where=key,
        fix=f"Check the internet connection; or download {file} on another machine and set {key} "
        "to the path of that file.",
    )


def weights_url(name: str) -> str | None:
    """Return the address of the file of weights that timm downloads; None: it has none."""
    found = timm.get_pretrained_cfg(name)
    if found is None or not found.has_weights:
        return None
    if found.hf_hub_id:
        file = found.hf_hub_filename or HUB_FILE
        return f"https://huggingface.co/{found.hf_hub_id}/resolve/main/{file}"
    return str(found.url or found.file)


def _known_tag(name: str) -> bool:
    """Return whether timm knows the tag of a name, such as ``in1k`` of ``resnet18.in1k``."""
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        return False
    return True


def _fixed_size(name: str) -> bool:
    return bool(timm.get_pretrained_cfg_value(name, "fixed_input_size"))


def patch_side(net: nn.Module) -> int:
    """Return the side of a transformer's patches, px; 1: no patches."""
    side = getattr(getattr(net, "patch_embed", None), "patch_size", 1)
    return int(side[0] if isinstance(side, tuple) else side)


def probe(name: str, net: Any) -> tuple[Tensor, list[Tensor]]:
    """Return the final features and the intermediate maps of a black image, in evaluation mode.

    The image is neither square nor of the model's default size: a model that fails on it can't
    read photos at several scales either.
    """
    if not hasattr(net, "forward_intermediates"):
        raise RecipeError(
            f"{name} gives no intermediate maps",
            where="backbone.name",
            fix="Choose a model of timm that has forward_intermediates, such as resnet50.",
        )
    training = net.training
    net.eval()
    try:
        with torch.enable_grad():
            final, maps = net.forward_intermediates(torch.zeros(1, 3, *_probe_size(net)))
    # Models of a fixed input size fail with assertions, shape errors and others.
    except Exception as error:
        cause = "timm fixes its grid of tokens when it is built; " if _fixed_size(name) else ""
        raise RecipeError(
            f"{name} can't read photos of any size ({cause}{first_line(error)})",
            where="backbone.name",
            fix=CHOOSE,
        ) from None
    finally:
        net.train(training)
    is_map = isinstance(final, Tensor) and all(
        isinstance(one, Tensor) and one.ndim == 4 for one in maps
    )
    if not is_map or not maps or len(maps) != len(net.feature_info):
        raise _not_a_map(name)
    return final, maps


def _probe_size(net: nn.Module) -> tuple[int, int]:
    patch = patch_side(net)
    cell = PROBE_CELL if PROBE_CELL % patch == 0 else patch
    return PROBE_CELLS[0] * cell, PROBE_CELLS[1] * cell


Layout = Literal["nchw", "nhwc", "tokens"]


def features_layout(final: Tensor, like: Tensor, name: str) -> Layout:
    """Return the memory layout of the final features, detected by their shape."""
    grid = like.shape[2:]
    if final.ndim == 4 and final.shape[2:] == grid:
        return "nchw"
    if final.ndim == 4 and final.shape[1:3] == grid:
        return "nhwc"
    if final.ndim == 3 and final.shape[1] >= grid.numel():
        return "tokens"
    raise _not_a_map(name)


def as_map(final: Tensor, like: Tensor, layout: Layout) -> Tensor:
    """Return the final features as (b, c, h, w); ``like`` is the deepest map, of the same grid."""
    if layout == "nhwc":
        return final.permute(0, 3, 1, 2)
    if layout == "tokens":
        batch, _, height, width = like.shape
        tokens = final[:, -height * width :]  # class and register tokens come first
        return tokens.transpose(1, 2).reshape(batch, -1, height, width)
    return final


def _not_a_map(name: str) -> RecipeError:
    return RecipeError(
        f"the features of {name} aren't a map of the photo",
        where="backbone.name",
        fix=CHOOSE,
    )
