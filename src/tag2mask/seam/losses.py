"""SEAM's losses as pure functions.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 3.4 (ER: 3.2); the authors' code
is ``train_SEAM.py`` of https://github.com/YudeWang/SEAM. With A the transform of view 2
(`ViewTransform`), F the plain maps and R the refined maps of a view, all max-normalized, the terms
are::

    cls      soft margin loss of the pooled plain maps            `classification`
    min      lowest quarter of the refined maps, pushed to 0      `min_pooling` (code only)
    ER       mean |A(F(I)) - F(A(I))|                             `equivariance`
    ECR      top 20 % of |F(A(I)) - A(R(I))| and of
             |A(F(I)) - R(A(I))|, each a mean                     `cross_equivariance`

`SeamObjective` computes them for a batch and weighs them.

Each term is a mean. It is returned as `Mean`, a sum and a count, so that several ranks can add up
both and divide by the same denominator whatever each of them saw.

``valid`` selects the convention. None is the published one: means over all channels and pixels,
padding included. With a mask, means are over present classes and valid pixels, so that the loss
weights have the same effect for 2 classes and for 200.

Absent classes are 0 in every map that is compared. Maps may leave out the channels of absent
classes; the published means then need ``num_classes``.
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
    """Scale each channel of each photo to [0, 1].

    Formula::

        p = ReLU(maps);  ReLU(p - min(p) - 1e-5) / (max(p) - min(p) + 1e-5)

    The authors' ``max_norm`` in ``tool/visualization.py``.

    Args:
        maps: raw maps, (b, c, h, w), floating.
        valid: bool (b, h, w); minimum and maximum are taken over valid pixels, the rest becomes 0.
            None: all valid (published).

    Returns:
        (b, c, h, w) in [0, 1], differentiable, same dtype.

    Example:
        >>> import torch
        >>> from tag2mask.seam.losses import max_norm
        >>> max_norm(torch.tensor([[[[-1.0, 1.0, 2.0, 4.0]]]])).round(decimals=2)
        tensor([[[[0.0000, 0.2500, 0.5000, 1.0000]]]])
    """
    maps = F.relu(maps)
    if valid is None:
        low, high = _range(maps, maps)
        return F.relu(maps - low - EPSILON) / (high - low + EPSILON)
    inside = valid[:, None]
    infinite = torch.finfo(maps.dtype).max
    low, high = _range(maps.masked_fill(~inside, infinite), maps.masked_fill(~inside, 0))
    low = torch.minimum(low, high)  # where no pixel is valid, low is still the largest float
    return F.relu(maps - low - EPSILON) / (high - low + EPSILON) * inside


def _range(for_low: Tensor, for_high: Tensor) -> tuple[Tensor, Tensor]:
    return for_low.amin(dim=(2, 3), keepdim=True), for_high.amax(dim=(2, 3), keepdim=True)


def with_background(foreground: Tensor) -> Tensor:
    """Put the background channel, 1 - the largest foreground value, in front.

    Args:
        foreground: max-normalized maps, (b, C, h, w).

    Returns:
        (b, C+1, h, w), channel 0 the background.

    Example:
        >>> import torch
        >>> from tag2mask.seam.losses import with_background
        >>> with_background(torch.tensor([0.25, 0.5]).view(1, 2, 1, 1)).flatten()
        tensor([0.5000, 0.2500, 0.5000])
    """
    return torch.cat([1 - foreground.amax(dim=1, keepdim=True), foreground], dim=1)


def keep_largest(maps: Tensor) -> Tensor:
    """Keep the background channel and only the largest foreground channel at each pixel.

    The ``max_onehot`` of the authors' ``train_SEAM.py``, which overwrites its input; this returns a
    new tensor.

    Args:
        maps: (b, C+1, h, w).

    Returns:
        (b, C+1, h, w), the other foreground channels 0.

    Example:
        >>> import torch
        >>> from tag2mask.seam.losses import keep_largest
        >>> keep_largest(torch.tensor([0.5, 0.25, 0.75]).view(1, 3, 1, 1)).flatten()
        tensor([0.5000, 0.0000, 0.7500])
    """
    foreground = maps[:, 1:]
    largest = foreground.amax(dim=1, keepdim=True)
    return torch.cat([maps[:, :1], torch.where(foreground < largest, 0.0, foreground)], dim=1)


def classification(logits: Tensor, tags: Tensor) -> Mean:
    """Compute the multi-label soft margin loss of the pooled plain maps (section 3.4).

    Formula::

        -mean over photos and classes of  y · log σ(z) + (1 - y) · log(1 - σ(z))

    with z the global average of a class's plain map. The background channel has no term. For a head
    with several branches the result is their mean, not their sum, so that the weight of the term
    relative to ER and ECR does not depend on their number.

    Args:
        logits: pooled foreground maps, (b, n, C); n = 1 for a CAM head.
        tags: 0/1 (b, C).

    Example:
        >>> import torch
        >>> from tag2mask.seam.losses import classification
        >>> logits, tags = torch.tensor([[[2.0, -2.0]]]), torch.tensor([[1.0, 0.0]])
        >>> round(classification(logits, tags).value.item(), 4)
        0.1269
    """
    targets = tags.float()[:, None].expand_as(logits)  # (b, n, C)
    return _mean_of(F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none"))


def min_pooling(refined: Tensor, tags: Tensor, valid: Tensor | None = None) -> Mean:
    """Compute the min-pooling loss, which pushes the lowest quarter of the refined map to 0.

    Formula::

        mean over the lowest quarter of the pixels of  ReLU(max over present classes of refined map)

    Not in the paper; ``adaptive_min_pooling_loss`` of the authors' ``train_SEAM.py``
    (https://github.com/YudeWang/SEAM), according to which it moves the best background threshold
    but not the best result.

    Args:
        refined: refined maps, (b, C+1, h, w), not normalized.
        tags: 0/1 (b, C).
        valid: bool (b, h, w); the quarter is taken of the valid pixels. None: of all (published).

    Example:
        >>> import torch
        >>> from tag2mask.seam.losses import min_pooling
        >>> refined = torch.zeros(1, 2, 2, 4)
        >>> refined[0, 1] = torch.tensor([[0.1, 0.9, 0.8, 0.7], [0.3, 0.9, 0.8, 0.7]])
        >>> round(min_pooling(refined, torch.ones(1, 1)).value.item(), 4)  # mean of .1 and .3
        0.2
    """
    largest = (refined[:, 1:] * tags[:, :, None, None]).amax(dim=1).flatten(1)  # (b, h·w)
    batch, pixels = largest.shape
    if valid is None:
        quarter = pixels // 4
        lowest = largest.topk(quarter, dim=1, largest=False, sorted=False).values  # (b, h·w // 4)
        return Mean(F.relu(lowest).sum(), largest.new_full((), float(quarter * batch)))
    return _mean_of_extremes(F.relu(largest), valid.flatten(1), share=0.25, largest=False)


def equivariance(
    map1: Tensor,
    map2: Tensor,
    tags: Tensor,
    valid: Tensor | None = None,
    *,
    num_classes: int | None = None,
) -> Mean:
    """Compute ER, the equivariant regularization (section 3.2, https://arxiv.org/abs/2004.04581).

    Formula::

        mean |A(F(I)) - F(A(I))|  over the foreground channels

    Published (``train_SEAM.py``): the mean is over all classes and pixels, absent classes included,
    where both maps are 0.

    Args:
        map1: max-normalized plain maps of branch 1, transformed to view 2: A(F(I)),
            (b, C+1, h, w).
        map2: max-normalized plain maps of branch 2: F(A(I)), (b, C+1, h, w).
        tags: 0/1 (b, C); absent classes are 0 in both maps.
        valid: bool (b, h, w); given, the mean is over present classes and valid pixels.
        num_classes: C if the maps lack the channels of absent classes; None: they have all.

    Example:
        >>> import torch
        >>> from tag2mask.seam.losses import equivariance
        >>> map1, map2 = torch.zeros(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
        >>> map1[0, 1] = torch.tensor([[1.0, 0.6]])
        >>> map2[0, 1] = torch.tensor([[1.0, 0.2]])
        >>> tags = torch.tensor([[1.0, 0.0]])  # the second class is absent
        >>> round(equivariance(map1, map2, tags).value.item(), 4)  # .4 / (2 classes · 2 px)
        0.1
        >>> valid = torch.ones(1, 1, 2, dtype=torch.bool)
        >>> round(equivariance(map1, map2, tags, valid).value.item(), 4)  # .4 / (1 class · 2 px)
        0.2
    """
    present = tags[:, :, None, None].to(map1.dtype)  # (b, C, 1, 1)
    difference = (map1[:, 1:] - map2[:, 1:]).abs() * present  # (b, C, h, w)
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
    top: float,
    valid: Tensor | None = None,
    num_classes: int | None = None,
) -> Mean:
    """Compute ECR, the equivariant cross regularization, in one direction.

    Section 3.4 of https://arxiv.org/abs/2004.04581.

    Formula::

        mean of the largest errors  |onehot(other branch's plain map) - refined map|

    The refined map of each branch is tied to the plain map of the other, which PCM cannot change,
    so that PCM does not collapse to one class everywhere. Only the share ``top`` of the values with
    the largest error counts, per photo (online hard example mining). The sum of both directions is
    the paper's ECR.

    Published (``train_SEAM.py``): ``top`` is .2 of all (C+1)·h·w values. On VOC that is 4.2·h·w,
    more than can differ from 0 in a photo of up to three tags, (1 + tags)·h·w, so hardly any value
    is left out. With ``valid`` the share is taken of the channels of present classes.

    Args:
        target: the other branch's plain map after `max_norm`, `with_background` and
            `keep_largest`, detached, (b, C+1, h, w).
        refined: max-normalized refined map, (b, C+1, h, w).
        tags: 0/1 (b, C); absent classes are 0 in both maps.
        top: share of values kept, in (0, 1].
        valid: bool (b, h, w); given, the share is taken of valid pixels and present channels.
        num_classes: C if the maps lack the channels of absent classes; None: they have all.

    Example:
        >>> import torch
        >>> from tag2mask.seam.losses import cross_equivariance
        >>> target = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # background, one class
        >>> refined = torch.tensor([[[[0.9, 0.4]], [[0.2, 0.7]]]])
        >>> tags = torch.ones(1, 1)
        >>> round(cross_equivariance(target, refined, tags, top=1.0).value.item(), 4)
        0.25
        >>> round(cross_equivariance(target, refined, tags, top=0.5).value.item(), 4)
        0.35
    """
    background = torch.ones_like(tags[:, :1])
    present = torch.cat([background, tags], dim=1).to(refined.dtype)  # (b, C+1)
    error = (target - refined * present[:, :, None, None]).abs()  # (b, C+1, h, w)
    if valid is None:
        batch, channels, height, width = error.shape
        kept = int(((num_classes or channels - 1) + 1) * height * width * top)
        # Channels that the maps lack have no error, so they rank last.
        largest = error.flatten(1)
        if kept < largest.shape[1]:
            largest = largest.topk(kept, dim=1, sorted=False).values  # (b, kept)
        return Mean(largest.sum(), error.new_full((), float(batch * kept)))
    counted = present[:, :, None, None].bool() & valid[:, None]
    return _mean_of_extremes(error.flatten(1), counted.flatten(1), share=top, largest=True)


def _mean_of_extremes(values: Tensor, counted: Tensor, *, share: float, largest: bool) -> Mean:
    """Average each row's ``share`` of largest or smallest values (b, n) among the counted ones.

    No value is copied to the CPU in between, so that a GPU need not synchronize. Values that tie
    for the last places share them.
    """
    parts = 1_000_000  # integer arithmetic: rounding must not decide how many are kept
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
