"""The published training step of SEAM without our optimizations, for comparison.

Written after the paper (Wang et al., CVPR 2020, https://arxiv.org/abs/2004.04581) and its published
code: float32, one memory format, the maps of all classes resized to the input's size, the affinity
of all pairs of positions at once, a full sort for the hardest values. The network is the one that
our step trains, without our changes to it.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.seam.network import SeamNet
from tag2mask.seam.pcm import PixelCorrelation

EPSILON = 1e-5
VIEW_SCALE = 0.3
HARD_SHARE = 0.2
MID_LEVELS = (2, 4)
"""Intermediate maps of EfficientNet-Lite0 and Lite2 at strides 8 and 16 that PCM reads."""


class PublishedNet(nn.Module):
    """CAM head and PCM on an EfficientNet-Lite with the weights of one of our networks.

    Args:
        net: our network, whose weights are copied.
        dropout: its rate before the head.
    """

    def __init__(self, net: SeamNet, *, dropout: float = 0.5) -> None:
        super().__init__()
        assert isinstance(net.pcm, PixelCorrelation) and isinstance(net.head, nn.Conv2d)
        ours: Any = net.backbone
        self.backbone = timm.create_model(ours.name, num_classes=0, output_stride=ours.stride)
        self.backbone.load_state_dict(ours.net.state_dict())
        self.dropout = nn.Dropout2d(dropout)
        self.fc8, self.f8_3, self.f8_4, self.f9 = (
            _copy(conv) for conv in (net.head, net.pcm.embed_low, net.pcm.embed_mid, net.pcm.fuse)
        )
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> PublishedNet:
        """Set training mode, with frozen batch norms."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return plain and refined maps of all classes at the image's size, (b, C+1, H, W) each."""
        last, (low, mid) = self.backbone.forward_intermediates(image, indices=list(MID_LEVELS))
        cam = self.fc8(self.dropout(last))
        refined = self._refine(cam, F.relu(low), F.relu(mid), image)
        return _resize(cam, image.shape[2:]), _resize(refined, image.shape[2:])

    def _refine(self, cam: Tensor, low: Tensor, mid: Tensor, image: Tensor) -> Tensor:
        batch, channels, height, width = cam.shape
        with torch.no_grad():
            seeds = F.relu(cam.detach())
            peak = seeds.flatten(2).max(dim=2).values[:, :, None, None] + EPSILON
            seeds = F.relu(seeds - EPSILON) / peak
            largest = seeds[:, 1:].max(dim=1, keepdim=True).values
            seeds[:, :1] = 1 - largest
            seeds[:, 1:][seeds[:, 1:] < largest] = 0
        features = torch.cat(
            [
                _resize(image, (height, width)),
                _resize(F.relu(self.f8_3(low.detach())), (height, width)),
                _resize(F.relu(self.f8_4(mid.detach())), (height, width)),
            ],
            dim=1,
        )
        features = self.f9(features).flatten(2)
        features = features / (features.norm(dim=1, keepdim=True) + EPSILON)
        affinity = F.relu(features.transpose(1, 2) @ features)
        affinity = affinity / (affinity.sum(dim=1, keepdim=True) + EPSILON)
        return (seeds.flatten(2) @ affinity).view(batch, channels, height, width)


def published_terms(net: PublishedNet, image: Tensor, tags: Tensor) -> dict[str, Tensor]:
    """Run both branches and compute every term of the loss.

    Args:
        net: the network.
        image: normalized, (b, 3, H, W).
        tags: 0/1 float (b, C).

    Returns:
        Scalars, named as in `tag2mask.seam.objective.SeamObjective`.
    """
    size = [int(VIEW_SCALE * side) for side in image.shape[2:]]
    labels = F.pad(tags, (1, 0), value=1.0)[:, :, None, None]
    cam1, refined1 = net(image)
    cam2, refined2 = net(_resize(image, size))
    terms = {
        "cls1": F.multilabel_soft_margin_loss(cam1.mean(dim=(2, 3))[:, 1:], tags),
        "cls2": F.multilabel_soft_margin_loss(cam2.mean(dim=(2, 3))[:, 1:], tags),
        "min1": _min_pooling(refined1 * labels),
        "min2": _min_pooling(refined2 * labels),
    }
    map1 = _resize(_max_norm(cam1), size) * labels
    map2 = _max_norm(cam2) * labels
    hard1 = _resize(_max_norm(refined1), size) * labels
    hard2 = _max_norm(refined2) * labels
    terms["er"] = (map1[:, 1:] - map2[:, 1:]).abs().mean()
    target1, target2 = _one_hot(map1.detach()), _one_hot(map2.detach())
    terms["ecr1"] = _hardest((target2 - hard1).abs())
    terms["ecr2"] = _hardest((target1 - hard2).abs())
    return terms


def published_loss(terms: dict[str, Tensor]) -> Tensor:
    """Return classification and min-pooling averaged over the branches, plus ER and ECR."""
    both = (terms["cls1"] + terms["cls2"] + terms["min1"] + terms["min2"]) / 2
    return both + terms["er"] + terms["ecr1"] + terms["ecr2"]


def _min_pooling(refined: Tensor) -> Tensor:
    largest = refined[:, 1:].max(dim=1).values.flatten(1)
    lowest = largest.topk(largest.shape[1] // 4, dim=1, largest=False).values
    return F.relu(lowest).mean()


def _max_norm(maps: Tensor) -> Tensor:
    maps = F.relu(maps)
    flat = maps.flatten(2)
    low = flat.min(dim=2).values[:, :, None, None]
    high = flat.max(dim=2).values[:, :, None, None]
    return F.relu(maps - low - EPSILON) / (high - low + EPSILON)


def _one_hot(maps: Tensor) -> Tensor:
    maps = maps.clone()
    largest = maps[:, 1:].max(dim=1, keepdim=True).values
    maps[:, :1] = 1 - largest
    maps[:, 1:][maps[:, 1:] < largest] = 0
    return maps


def _hardest(error: Tensor) -> Tensor:
    flat = error.flatten(1)
    return flat.topk(int(flat.shape[1] * HARD_SHARE), dim=1).values.mean()


def _resize(maps: Tensor, size: object) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)  # type: ignore[arg-type]


def _copy(conv: nn.Conv2d) -> nn.Conv2d:
    copied = nn.Conv2d(conv.in_channels, conv.out_channels, 1, bias=False)
    copied.load_state_dict(conv.state_dict())
    return copied
