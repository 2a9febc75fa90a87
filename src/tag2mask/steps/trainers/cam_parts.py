"""The parts of a user's own that a section ``train_cam`` names: made, and tried before training."""

from __future__ import annotations

from torch import nn

from tag2mask.recipe.training import TrainCam
from tag2mask.seam.network import SeamNet
from tag2mask.seam.parts import LOSS_PART, PCM_PART, VIEWS_PART, ViewsPart, make_part
from tag2mask.testing import check_part


def extra_losses(section: TrainCam) -> list[tuple[nn.Module, float]]:
    """Return the extra loss terms, each with its weight.

    Raises:
        PartError: a class can't be imported, breaks the protocol, or can't be instantiated.
    """
    modules = section.modules().values()
    return [
        (make_part(extra.module, LOSS_PART, extra.options, modules=modules), extra.weight)
        for extra in section.losses.extra
    ]


def own_views(section: TrainCam) -> ViewsPart | None:
    """Return what draws the views in place of ``train_cam.views``; None: the section does.

    Raises:
        PartError: as for `extra_losses`.
    """
    views = section.views
    if not views.enabled or views.module is None:
        return None
    part: ViewsPart = make_part(
        views.module, VIEWS_PART, views.options, modules=section.modules().values()
    )
    return part


def check_parts(section: TrainCam, net: SeamNet) -> None:
    """Try what the parts compute, which would otherwise fail in the middle of a training.

    Raises:
        PartError: a part breaks its protocol.
    """
    low, mid, last = net.backbone.channels
    if section.pcm.enabled and section.pcm.module is not None:
        check_part(section.pcm.module, PCM_PART.name, section.pcm.options, channels=(low, mid))
    if section.views.enabled and section.views.module is not None:
        check_part(section.views.module, VIEWS_PART.name, section.views.options)
    for extra in section.losses.extra:
        check_part(
            extra.module,
            LOSS_PART.name,
            extra.options,
            views=2 if section.views.enabled else 1,
            refined=section.pcm.enabled,
            features=last,
        )
