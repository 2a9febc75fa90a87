"""SEAM's losses as pure functions (Wang et al., CVPR 2020, section 3.4 and its published code).

Every term is a mean over something; it is returned as `Mean`, a sum and its count, so that several
ranks can add both up and divide by the same denominator whatever each of them saw.

Two conventions, chosen by ``valid``: None is the published one (means over all channels and pixels,
padding included); with it, the mended one (means over present classes and valid pixels, so that
weights mean the same for 2 classes and for 200).

Absent classes are 0 in every map that is compared. Maps may leave their channels out: the published
means then need to be told how many classes there are.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tag2mask.nn.mean import Mean

EPSILON = 1e-5


def _mean_of(values: Tensor, weights: Tensor | None = None) -> Mean:
    if weights is None:
        return Mean(values.sum(), values.new_full((), float(values.numel())))
    weights = weights.to(values.dtype)
    return Mean((values * weights).sum(), weights.expand_as(values).sum())


def max_norm(maps: Tensor, valid: Tensor | None = None) -> Tensor:
    """Scale each channel of each photo to [0, 1]: ReLU, subtract its minimum, divide by its range.

    Args:
        maps: (b, c, h, w).
        valid: bool (b, h, w); minimum and maximum are taken over valid pixels, the rest becomes 0.

    Returns:
        (b, c, h, w), differentiable, of the same dtype.
    """
    maps = F.relu(maps)
    if valid is None:
        low, high = _range(maps, maps)
        return F.relu(maps - low - EPSILON) / (high - low + EPSILON)
    inside = valid[:, None]
    infinite = torch.finfo(maps.dtype).max
    low, high = _range(maps.masked_fill(~inside, infinite), maps.masked_fill(~inside, 0))
    low = torch.minimum(low, high)  # a photo without any valid pixel
    return F.relu(maps - low - EPSILON) / (high - low + EPSILON) * inside


def _range(for_low: Tensor, for_high: Tensor) -> tuple[Tensor, Tensor]:
    return for_low.amin(dim=(2, 3), keepdim=True), for_high.amax(dim=(2, 3), keepdim=True)


def with_background(foreground: Tensor) -> Tensor:
    """(b, C, h, w) foreground maps -> (b, C+1, h, w) with background = 1 - largest foreground."""
    return torch.cat([1 - foreground.amax(dim=1, keepdim=True), foreground], dim=1)


def keep_largest(maps: Tensor) -> Tensor:
    """Keep the background channel and only the largest foreground channel at each pixel.

    Args:
        maps: (b, C+1, h, w).

    Returns:
        A new tensor of the same shape (the published ``max_onehot`` writes into its input).
    """
    foreground = maps[:, 1:]
    largest = foreground.amax(dim=1, keepdim=True)
    return torch.cat([maps[:, :1], torch.where(foreground < largest, 0.0, foreground)], dim=1)


def classification(logits: Tensor, tags: Tensor) -> Mean:
    """Multi-label soft margin loss over the foreground classes, of each branch of the head.

    The branches' mean, not their sum: the term then weighs the same beside ER and ECR however many
    there are.

    Args:
        logits: pooled foreground maps of the branches, (b, n, C).
        tags: 0/1 (b, C).
    """
    targets = tags.float()[:, None].expand_as(logits)
    return _mean_of(F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none"))


def min_pooling(refined: Tensor, tags: Tensor, valid: Tensor | None = None) -> Mean:
    """A quarter of each photo is background: push the lowest quarter of the refined map to 0.

    Args:
        refined: not normalized refined maps, (b, C+1, h, w).
        tags: 0/1 (b, C).
        valid: bool (b, h, w); the quarter is taken of valid pixels.
    """
    largest = (refined[:, 1:] * tags[:, :, None, None]).amax(dim=1).flatten(1)
    batch, pixels = largest.shape
    if valid is None:
        quarter = pixels // 4
        lowest = largest.topk(quarter, dim=1, largest=False, sorted=False).values
        return Mean(F.relu(lowest).sum(), largest.new_full((), float(quarter * batch)))
    return _ranked(F.relu(largest), valid.flatten(1), share=0.25, largest=False)


def equivariance(
    map1: Tensor,
    map2: Tensor,
    tags: Tensor,
    valid: Tensor | None = None,
    *,
    num_classes: int | None = None,
) -> Mean:
    """ER: mean |A(cam1) - cam2| over the foreground (paper eq. 5).

    Args:
        map1: max-normalized maps of branch 1 in view 2's frame, (b, C+1, h, w).
        map2: max-normalized maps of branch 2, (b, C+1, h, w).
        tags: 0/1 (b, C); absent classes are 0 on both sides.
        valid: bool (b, h, w); given, the mean is over present classes and valid pixels.
        num_classes: C where the maps leave absent classes out; None: they don't.
    """
    present = tags[:, :, None, None].to(map1.dtype)
    difference = (map1[:, 1:] - map2[:, 1:]).abs() * present
    if valid is None:
        batch, channels, height, width = difference.shape
        values = batch * (num_classes or channels) * height * width
        return Mean(difference.sum(), difference.new_full((), float(values)))
    return _mean_of(difference, (present * valid[:, None]).expand_as(difference))


def cross_equivariance(
    target: Tensor,
    refined: Tensor,
    tags: Tensor,
    *,
    top: float = 0.2,
    valid: Tensor | None = None,
    num_classes: int | None = None,
) -> Mean:
    """ECR in one direction: refined map against the other branch's plain map (paper eq. 6).

    Only the share ``top`` of values with the largest error counts (online hard example mining).

    Args:
        target: the other branch's `keep_largest` map, detached, (b, C+1, h, w).
        refined: max-normalized refined map, (b, C+1, h, w).
        tags: 0/1 (b, C); absent classes are 0 on both sides.
        top: share of values kept, in (0, 1].
        valid: bool (b, h, w); given, the share is taken of valid pixels and present channels.
        num_classes: C where the maps leave absent classes out; None: they don't.
    """
    background = torch.ones_like(tags[:, :1])
    present = torch.cat([background, tags], dim=1).to(refined.dtype)
    error = (target - refined * present[:, :, None, None]).abs()
    if valid is None:
        batch, channels, height, width = error.shape
        kept = int(((num_classes or channels - 1) + 1) * height * width * top)
        # What is left out of the maps has no error, so it ranks last.
        largest = error.flatten(1)
        if kept < largest.shape[1]:
            largest = largest.topk(kept, dim=1, sorted=False).values
        return Mean(largest.sum(), error.new_full((), float(batch * kept)))
    counted = present[:, :, None, None].bool() & valid[:, None]
    return _ranked(error.flatten(1), counted.flatten(1), share=top, largest=True)


def teaching(
    plain: Tensor,
    refined: Tensor,
    tags: Tensor,
    valid: Tensor | None = None,
    *,
    num_classes: int | None = None,
) -> Mean:
    """Pull the plain map towards the detached refined map of the same branch.

    Not in the paper: PCM is fed detached maps, so there the backbone never learns from refinement.

    Args:
        plain: max-normalized plain map, (b, C+1, h, w).
        refined: max-normalized refined map, (b, C+1, h, w); detached here.
        tags: 0/1 (b, C).
        valid: bool (b, h, w).
        num_classes: as for `equivariance`.
    """
    return equivariance(plain, refined.detach(), tags, valid, num_classes=num_classes)


def _ranked(values: Tensor, counted: Tensor, *, share: float, largest: bool) -> Mean:
    """Add up each row's ``share`` of largest or smallest values (b, n) among the counted ones.

    Nothing is read back in between, so that a GPU isn't waited for. Values that tie for the last
    places share them.
    """
    parts = 1_000_000  # whole numbers: rounding must not decide how many are kept
    share_parts = round(share * parts)
    kept = -(counted.sum(dim=1, keepdim=True) * -share_parts // parts)
    most = max(1, -(values.shape[1] * -share_parts // parts))
    with torch.no_grad():
        last = -math.inf if largest else math.inf
        ranked = values.masked_fill(~counted, last)
        edge = ranked.topk(most, dim=1, largest=largest).values.gather(1, (kept - 1).clamp(min=0))
        beyond = ranked > edge if largest else ranked < edge
        tied = (ranked == edge) & counted
        places = kept - beyond.sum(dim=1, keepdim=True)
        weights = beyond + tied * (places / tied.sum(dim=1, keepdim=True).clamp(min=1))
    return Mean((values * weights).sum(), kept.sum().to(values.dtype))
