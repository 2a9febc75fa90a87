"""The Siamese objective: two views of a batch through one network, and every term of SEAM's loss.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 3.4; the authors' code is the
loop in ``train_SEAM.py`` of https://github.com/YudeWang/SEAM.

Branch 1 sees the image, branch 2 the transformed image; both share their weights. Both run in one
``forward`` of one module, so that data-parallel wrappers see a single call per step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tag2mask.maps.cam_map import map_grid
from tag2mask.nn.masked_resize import cells_inside
from tag2mask.nn.mean import Mean
from tag2mask.seam import losses
from tag2mask.seam.network import SeamNet, SeamOutput
from tag2mask.seam.parts import LossInputs, LossView, Transform


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; a term of weight 0 is not computed.

    Attributes:
        cls: classification.
        cls_view2: classification of branch 2 relative to branch 1.
        min_pool: min-pooling.
        er: ER.
        ecr: ECR, both directions.
    """

    cls: float
    cls_view2: float
    min_pool: float
    er: float
    ecr: float


PUBLISHED_WEIGHTS = LossWeights(cls=1.0, cls_view2=1.0, min_pool=1.0, er=1.0, ecr=1.0)


@dataclass(frozen=True)
class ObjectiveSettings:
    """Settings of the Siamese objective.

    Attributes:
        weights: weights of the terms.
        ecr_top: share of values that ECR keeps, in (0, 1].
        published: the conventions of the authors' code: padding takes part, means are over all
            channels, and pooling is at the maps' size. False: padding is excluded, means are over
            present classes, and pooling is on the CAM's grid.
        gate_pcm: only present classes enter PCM; in the authors' code all classes do.
        map_stride: pixels per cell of the maps that the losses compare.
    """

    weights: LossWeights
    ecr_top: float
    published: bool
    gate_pcm: bool
    map_stride: int


PUBLISHED_OBJECTIVE = ObjectiveSettings(
    weights=PUBLISHED_WEIGHTS, ecr_top=0.2, published=True, gate_pcm=False, map_stride=1
)


class SeamObjective(nn.Module):
    """Both branches and their loss terms (section 3.4).

    Formula::

        L = (cls1 + cls2) / 2 + (min1 + min2) / 2 + er + ecr1 + ecr2

    with the terms of `tag2mask.seam.losses`, each times its weight. PCM's inputs and ECR's targets
    are detached. So ECR and min-pooling train PCM alone; backbone and CAM head learn
    from the classification loss and ER.

    Args:
        net: the network that both branches share.
        settings: weights and conventions; published: `PUBLISHED_OBJECTIVE`.
        extra: more loss terms of `tag2mask.seam.parts.LossPart`, each with its weight. Their
            parameters are trained with the network's.
    """

    def __init__(
        self,
        net: SeamNet,
        settings: ObjectiveSettings,
        extra: Sequence[tuple[nn.Module, float]] = (),
    ) -> None:
        super().__init__()
        self.net = net
        self.settings = settings
        self.weights = settings.weights
        self.extra = nn.ModuleList(loss for loss, _ in extra)
        self.extra_weights = tuple(weight for _, weight in extra)

    def forward(
        self,
        image: Tensor,
        tags: Tensor,
        valid: Tensor,
        transform: Transform | None,
        progress: float = 0.0,
    ) -> dict[str, Mean]:
        """Compute the terms of one batch.

        Args:
            image: normalized, (b, 3, H, W).
            tags: 0/1 float (b, C).
            valid: bool (b, H, W), False on padding.
            transform: view 1 to view 2; None: branch 1 alone.
            progress: share of the training that is done, for extra losses.

        Returns:
            Terms by name, unweighted: ``cls1 cls2 min1 min2 er ecr1 ecr2``, those that the
            weights switch on, and ``extra1 extra2 ...``. `total_weights` says how they add up.
        """
        inside = None if self.settings.published else valid
        # Absent classes are 0 in every term, so their maps are not computed.
        channels = present_channels(tags)  # (b, 1 + k)
        classes = channels[:, 1:] - 1  # (b, k)
        present = tags.gather(1, classes)  # (b, k)
        view1 = self._view(image, inside, tags, channels)
        terms: dict[str, Mean] = {}
        self._single(terms, "1", view1, present)
        if self.weights.cls > 0:
            terms["cls1"] = losses.classification(view1.output.branch_logits, tags)
        if transform is None:
            views: tuple[LossView, ...] = (view1.shown(image),)
            self._extra(terms, LossInputs(present, classes, views, None, progress))
            return terms
        image2 = transform.image(image)
        inside2 = None if inside is None else transform.valid(inside)
        view2 = self._view(image2, inside2, tags, channels)
        self._single(terms, "2", view2, present)
        if self.weights.cls > 0 and self.weights.cls_view2 > 0:
            terms["cls2"] = losses.classification(view2.output.branch_logits, tags)
        self._cross(terms, view1, view2, present, transform)
        views = (view1.shown(image), view2.shown(image2))
        self._extra(terms, LossInputs(present, classes, views, transform, progress))
        return terms

    def total_weights(self, *, two_views: bool) -> dict[str, float]:
        """Return the weight of each term in the total, before any ramp.

        Classification (view 2 weighed by ``cls_view2``) and min-pooling are averaged over the
        branches.
        """
        w = self.weights
        extra = {f"extra{i}": weight for i, weight in enumerate(self.extra_weights, 1)}
        if not two_views:
            return {"cls1": w.cls, "min1": w.min_pool, **extra}
        return {
            "cls1": w.cls / (1 + w.cls_view2),
            "cls2": w.cls * w.cls_view2 / (1 + w.cls_view2),
            "min1": w.min_pool / 2,
            "min2": w.min_pool / 2,
            "er": w.er,
            "ecr1": w.ecr,
            "ecr2": w.ecr,
            **extra,
        }

    def _view(
        self, image: Tensor, valid: Tensor | None, tags: Tensor, channels: Tensor
    ) -> _BranchView:
        size = map_grid(image.shape[2], image.shape[3], self.settings.map_stride)
        output = self.net(
            image,
            valid=valid,
            tags=tags if self.settings.gate_pcm else None,
            channels=channels,
            map_size=size,
            pool_on_grid=not self.settings.published,
        )
        # Losses are computed in float32 whatever the network's precision.
        output = SeamOutput(
            output.branch_logits,
            output.cam.float(),
            None if output.refined is None else output.refined.float(),
            output.features,
        )
        return _BranchView(output, None if valid is None else cells_inside(valid, size))

    def _single(self, terms: dict[str, Mean], branch: str, view: _BranchView, tags: Tensor) -> None:
        """Add the terms of a single branch."""
        refined = view.output.refined
        if refined is None:
            return
        if self.weights.min_pool > 0:
            terms[f"min{branch}"] = losses.min_pooling(refined, tags, view.valid)

    def _extra(self, terms: dict[str, Mean], inputs: LossInputs) -> None:
        """Add the terms of a user's own losses."""
        for number, loss in enumerate(self.extra, 1):
            terms[f"extra{number}"] = loss(inputs)

    def _cross(
        self,
        terms: dict[str, Mean],
        view1: _BranchView,
        view2: _BranchView,
        tags: Tensor,
        transform: Transform,
    ) -> None:
        """Add the terms that compare the branches, in view 2's frame: ER and ECR."""
        if self.weights.er <= 0 and (self.weights.ecr <= 0 or view1.output.refined is None):
            return
        size = (view2.output.cam.shape[2], view2.output.cam.shape[3])
        valid = None
        if view1.valid is not None and view2.valid is not None:
            valid = transform.valid(view1.valid, size) & view2.valid
        present = tags[:, :, None, None]
        map1 = transform.maps(view1.foreground, size) * present  # (b, k, h, w)
        map2 = view2.foreground * present  # (b, k, h, w)
        map1, map2 = losses.with_background(map1), losses.with_background(map2)
        if self.weights.er > 0:
            terms["er"] = losses.equivariance(
                map1, map2, tags, valid, num_classes=self.net.num_classes
            )
        if self.weights.ecr > 0 and view1.output.refined is not None:
            refined1 = transform.maps(view1.refined, size)  # (b, 1 + k, h, w)
            for name, target, refined in (("ecr1", map2, refined1), ("ecr2", map1, view2.refined)):
                terms[name] = losses.cross_equivariance(
                    losses.keep_largest(target.detach()),
                    refined,
                    tags,
                    top=self.settings.ecr_top,
                    valid=valid,
                    num_classes=self.net.num_classes,
                )


@dataclass(frozen=True)
class _BranchView:
    """Maps of one branch, max-normalized once for all terms that compare them."""

    output: SeamOutput
    valid: Tensor | None

    def shown(self, image: Tensor) -> LossView:
        """Return what extra losses get of this branch, which saw the image."""
        output = self.output
        assert output.features is not None
        logits = output.logits.float()
        return LossView(image, logits, output.cam, output.refined, output.features, self.valid)

    @cached_property
    def foreground(self) -> Tensor:
        """Max-normalized plain maps, (b, k, h, w)."""
        return losses.max_norm(self.output.cam[:, 1:], self.valid)

    @cached_property
    def refined(self) -> Tensor:
        """Max-normalized refined maps, (b, 1 + k, h, w)."""
        assert self.output.refined is not None
        return losses.max_norm(self.output.refined, self.valid)


def present_channels(tags: Tensor) -> Tensor:
    """Return the channels of each photo's maps that the losses use: background and tags.

    Args:
        tags: 0/1 (b, C).

    Returns:
        int64 (b, 1 + k), in rising order. k is the largest number of tags of any photo, and at
        least 1; photos with fewer tags have absent classes in the remaining places.

    Example:
        >>> import torch
        >>> from tag2mask.seam.objective import present_channels
        >>> present_channels(torch.tensor([[0, 1, 0, 1], [0, 0, 1, 0]]))
        tensor([[0, 2, 4],
                [0, 1, 3]])
    """
    most = max(1, int(tags.sum(dim=1).amax()))
    classes = tags.argsort(dim=1, descending=True, stable=True)[:, :most].sort(dim=1).values
    return torch.cat([torch.zeros_like(classes[:, :1]), classes + 1], dim=1)
