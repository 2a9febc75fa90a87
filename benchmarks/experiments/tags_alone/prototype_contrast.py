"""Pixel-to-prototype contrast on SEAM, as a loss of one's own.

Du et al., CVPR 2022 (https://arxiv.org/abs/2110.07110); the authors' code is ``contrast_train.py``
of https://github.com/usr922/wseg. A run with it, from the folder of the repository:

    PYTHONPATH=. tag2mask run --data DATA --out RUN --set 'train_cam.losses.extra=[{module:
        "benchmarks.experiments.tags_alone.prototype_contrast:PrototypeContrast", weight: 0.1,
        options: {channels: 1280, classes: 20}}]'

With f the normalized projection of a cell of the last map, y its pseudo label, P the prototypes of
the classes of a view (1 or 2) and τ the temperature, the term is the mean over both views v of::

    nce(f_v, y_v, P_other) + nce(f_v, y_other, P_v) + semi_hard(f_v, y_v, P_v)
    nce(f, y, P) = mean -log( exp(f·P_y / τ) / Σ_c exp(f·P_c / τ) )

``semi_hard`` is the same with half of the other prototypes and with hard cells, see there. View 1
is brought into the frame of view 2. Pseudo labels and prototypes come from the refined maps,
without gradient; the projection and, through the last map, the backbone learn.

Different from the paper: a cell's label can only be background or a tag of its photo; prototypes
are moving averages over the batches, since 8 photos show about 10 of 20 classes; the background's
prototype is that of the cells that are surely background; the term begins after SEAM's ramp.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.nn.masked_resize import cells_inside, resize
from tag2mask.nn.mean import Mean
from tag2mask.seam.losses import max_norm
from tag2mask.seam.parts import LossInputs, LossView


class Cells(NamedTuple):
    """The n cells of one view of a batch.

    Attributes:
        features: projected, not normalized, (n, d).
        labels: int64 (n,), 0 background, 1..C classes.
        confidence: score of the label, (n,) in [0, 1].
        inside: bool (n,), False on padding.
        per_photo: number of cells of a photo.
    """

    features: Tensor
    labels: Tensor
    confidence: Tensor
    inside: Tensor
    per_photo: int


class PrototypeContrast(nn.Module):
    """The contrast as an extra loss.

    Args:
        channels: of the backbone's last map.
        classes: number of foreground classes C.
        size: channels of the projection.
        temperature: τ.
        background: a cell of a lower largest score is background (published: 0.2).
        top: cells of a prototype, as a share of those of one photo.
        momentum: weight of the prototypes before in their moving average (published: 0).
        start: share of the training before it.
    """

    prototypes: Tensor

    def __init__(
        self,
        channels: int,
        classes: int,
        size: int = 128,
        temperature: float = 0.1,
        background: float = 0.45,
        top: float = 0.125,
        momentum: float = 0.9,
        start: float = 0.3,
    ) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, size, 1, bias=False)
        self.register_buffer("prototypes", torch.zeros(2, classes + 1, size))
        self.temperature = temperature
        self.background = background
        self.top = top
        self.momentum = momentum
        self.start = start

    def forward(self, inputs: LossInputs) -> Mean:
        """Compute the term of one batch."""
        if inputs.progress < self.start:
            return Mean(self.project.weight.sum() * 0, self.project.weight.new_zeros(()))
        with torch.autocast(inputs.tags.device.type, enabled=False):
            views = self.cells(inputs)
            self.update(views)
            total = torch.stack([self.term(views, place) for place in range(len(views))]).mean()
        return Mean(total, total.new_ones(()))

    def cells(self, inputs: LossInputs) -> list[Cells]:
        """Return the cells of the views, each of which shows the same place in all of them."""
        size = inputs.views[-1].features.shape[2:]
        maps = []
        for place, view in enumerate(inputs.views):
            features = F.relu(self.project(view.features.float()))
            scores, inside = self.scores(view, inputs.tags)
            if place + 1 < len(inputs.views):
                assert inputs.transform is not None
                to = (int(size[0]), int(size[1]))
                features = inputs.transform.maps(features, to)
                scores = inputs.transform.maps(scores, to)
                inside = inputs.transform.valid(inside, to)
            else:
                scores, inside = resize(scores, size, inside), cells_inside(inside, size)
            maps.append((features, scores, inside))
        common = torch.stack([inside for _, _, inside in maps]).all(dim=0)
        ids = F.pad(inputs.classes + 1, (1, 0))  # (b, 1 + k)
        return [self.labeled(features, scores, common, ids) for features, scores, _ in maps]

    @staticmethod
    @torch.no_grad()
    def scores(view: LossView, tags: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of a view's tags, (b, k, h, w) in [0, 1], and its valid cells."""
        maps = view.cam if view.refined is None else view.refined
        scores = max_norm(maps[:, 1:], view.valid) * tags[:, :, None, None]
        inside = torch.ones_like(scores[:, 0], dtype=torch.bool)
        return scores, inside if view.valid is None else view.valid

    def labeled(self, features: Tensor, scores: Tensor, inside: Tensor, ids: Tensor) -> Cells:
        """Return the cells of a view with their pseudo labels."""
        best, place = scores.max(dim=1)  # (b, h, w)
        is_object = best > self.background
        labels = ids.gather(1, (torch.where(is_object, place + 1, 0)).flatten(1))
        return Cells(
            features.movedim(1, 3).flatten(0, 2),
            labels.flatten(),
            torch.where(is_object, best, 1 - best).flatten(),
            inside.flatten(),
            best[0].numel(),
        )

    @torch.no_grad()
    def update(self, views: list[Cells]) -> None:
        """Move the prototypes of each view towards those of its cells."""
        after = self.prototypes.clone()
        for place, view in enumerate(views):
            count = max(1, round(self.top * view.per_photo))
            found = class_prototypes(view, len(self.prototypes[0]), count)
            before = self.prototypes[place]
            mixed = F.normalize(self.momentum * before + (1 - self.momentum) * found, dim=1)
            mixed = torch.where(known(before)[:, None], mixed, found)
            after[place] = torch.where(known(found)[:, None], mixed, before)
        self.prototypes = after

    def term(self, views: list[Cells], place: int) -> Tensor:
        """Return the three parts of one view; of a single view the last one."""
        own, prototypes = views[place], self.prototypes[place]
        features = F.normalize(own.features, dim=1)
        total = semi_hard(features, own.labels, prototypes, own.inside, self.temperature)
        for other, view in enumerate(views):
            if other != place:
                theirs = self.prototypes[other]
                total = total + nce(features, own.labels, theirs, own.inside, self.temperature)
                total = total + nce(features, view.labels, prototypes, own.inside, self.temperature)
        return total


def known(prototypes: Tensor) -> Tensor:
    """Return which classes have a prototype, bool (C+1,); the others are 0."""
    return prototypes.any(dim=1)


def class_prototypes(cells: Cells, classes: int, count: int) -> Tensor:
    """Return the mean of the ``count`` most confident cells of each class, weighted by confidence.

    Returns:
        (classes, d) of length 1; 0 for classes that no cell is labeled as.
    """
    own = cells.labels == torch.arange(classes, device=cells.labels.device)[:, None]
    weights = torch.where(own & cells.inside, cells.confidence, 0.0)  # (classes, n)
    best, index = weights.topk(min(count, weights.shape[1]), dim=1)
    return F.normalize((best[:, :, None] * cells.features[index]).sum(dim=1), dim=1)


def nce(
    features: Tensor, labels: Tensor, prototypes: Tensor, inside: Tensor, temperature: float
) -> Tensor:
    """Return the mean cross-entropy of normalized cells (n, d) against all known prototypes."""
    features, labels, seen = _counted(features, labels, prototypes, inside)
    if not len(labels):
        return features.sum()
    scores = (features @ prototypes.mT).masked_fill(~seen, -torch.inf)
    return F.cross_entropy(scores / temperature, labels)


def semi_hard(
    features: Tensor, labels: Tensor, prototypes: Tensor, inside: Tensor, temperature: float
) -> Tensor:
    """Return the mean over classes of the cross-entropy with semi-hard prototypes, of hard cells.

    Of the other prototypes each cell is compared with, in the order of their similarity, the second
    to sixth tenth. Of the cells of a class a random half counts, and those that rank second to
    sixth tenth in their distance to its prototype.
    """
    features, labels, seen = _counted(features, labels, prototypes, inside)
    others = int(seen.sum()) - 1
    if not len(labels) or others < 1:
        return features.sum() * 0
    similarity = features @ prototypes.mT  # (n, C + 1)
    own = similarity.gather(1, labels[:, None])
    left_out = ~seen | F.one_hot(labels, len(prototypes)).bool()
    hardest = similarity.masked_fill(left_out, -torch.inf).sort(dim=1, descending=True).values
    first = others // 10
    negatives = hardest[:, first : max(first + 1, others * 6 // 10)]
    scores = torch.cat([own, negatives], dim=1) / temperature
    terms = F.cross_entropy(scores, torch.zeros_like(labels), reduction="none")  # (n,)
    means = [
        terms[chosen].mean()
        for label in range(len(prototypes))
        if len(chosen := hard_cells(own[:, 0], labels == label))
    ]
    return torch.stack(means).mean() if means else terms.sum() * 0


@torch.no_grad()
def hard_cells(similarity: Tensor, own: Tensor) -> Tensor:
    """Return the places of a random half of a class's cells and of its hard ones; see `semi_hard`.

    Args:
        similarity: of each cell to the prototype of its label, (n,).
        own: bool (n,), the cells of the class.
    """
    index = own.nonzero()[:, 0]
    count = len(index)
    chosen = torch.randperm(count, device=own.device)[: count // 2]
    last = count * 6 // 10
    hard = similarity[index].argsort()[last - count // 2 : last]
    return index[torch.cat([chosen, hard])]


def _counted(
    features: Tensor, labels: Tensor, prototypes: Tensor, inside: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells inside the photos whose label has a prototype, and the known classes."""
    seen = known(prototypes)
    counted = inside & seen[labels]
    return features[counted], labels[counted], seen
