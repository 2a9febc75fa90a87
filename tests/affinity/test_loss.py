"""Pair labels and losses against a plain implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_backbone import PointwiseBackbone, corner, random

from tag2mask.affinity.loss import AFFINITY_WEIGHTS, AffinityObjective, affinity_terms, pair_labels
from tag2mask.affinity.network import AffinityNet
from tag2mask.affinity.pairs import existing_pairs, pair_offsets

pytestmark = pytest.mark.smoke

KINDS = torch.tensor([0, 0, 1, 2, 255], dtype=torch.uint8)


def labels_of(size: tuple[int, int], seed: int, batch: int = 2) -> Tensor:
    drawn = torch.randint(len(KINDS), (batch, *size), generator=torch.Generator().manual_seed(seed))
    return KINDS[drawn]


def plain_losses(
    affinity: Tensor, labels: Tensor, radius: int, published: bool
) -> dict[str, float]:
    """Compute the terms pair by pair, in double precision."""
    sums = {"bg": (0.0, 0), "fg": (0.0, 0), "neg": (0.0, 0)}
    exist = existing_pairs(tuple(labels.shape[1:]), radius, published=published)
    for b, photo in enumerate(labels.tolist()):
        for o, (dy, dx) in enumerate(pair_offsets(radius).tolist()):
            for y, x in zip(*exist[o].nonzero(), strict=True):
                one, other = photo[y][x], photo[y + dy][x + dx]
                if 255 in (one, other):
                    continue
                a = float(affinity[b, o, y, x])
                kind = "neg" if one != other else "bg" if one == 0 else "fg"
                loss = -math.log(1 + 1e-5 - a) if kind == "neg" else -math.log(a + 1e-5)
                total, count = sums[kind]
                sums[kind] = total + loss, count + 1
    return {kind: total / max(count, 1) for kind, (total, count) in sums.items()}


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    radius=st.integers(1, 5),
    published=st.booleans(),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_losses_equal_the_plain_losses(
    height: int, width: int, radius: int, published: bool, seed: int
) -> None:
    labels = labels_of((height, width), seed)
    affinity = random(2, len(pair_offsets(radius)), height, width, seed=seed).sigmoid()
    terms = affinity_terms(affinity, labels, radius=radius, published=published)
    wanted = plain_losses(affinity, labels, radius, published)
    assert set(terms) == set(wanted) == set(AFFINITY_WEIGHTS)
    for name, term in terms.items():
        assert term.value.item() == pytest.approx(wanted[name], abs=1e-5), name


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
def test_each_known_pair_is_of_one_kind(kind: torch.dtype) -> None:
    labels = labels_of((8, 7), 3)
    found = pair_labels(labels.to(kind), 4, published=False)
    count = sum(one.int() for one in found)
    assert count.max() == 1
    sure = torch.where(labels == 255, labels, torch.zeros_like(labels))
    known = pair_labels(sure, 4, published=False)
    assert torch.equal(count.bool(), known.bg)
    assert not known.fg.any() and not known.neg.any()


def test_unsure_labels_give_no_pairs() -> None:
    affinity = random(1, 34, 6, 6).sigmoid().requires_grad_()
    labels = torch.full((1, 6, 6), 255, dtype=torch.uint8)
    terms = affinity_terms(affinity, labels, radius=5, published=False)
    total = torch.stack([term.value for term in terms.values()]).sum()
    total.backward()
    assert all(term.count == 0 for term in terms.values()) and total == 0
    assert affinity.grad is not None and not affinity.grad.any()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_extreme_affinities_stay_finite(value: float) -> None:
    affinity = torch.full((2, 34, 6, 6), value, requires_grad=True)
    terms = affinity_terms(affinity, labels_of((6, 6), 0), radius=5, published=False)
    total = torch.stack([term.value for term in terms.values()]).sum()
    total.backward()
    assert total.isfinite() and affinity.grad is not None and affinity.grad.isfinite().all()


@pytest.mark.parametrize("published", [False, True])
def test_padding_enters_no_term_unless_published(published: bool) -> None:
    torch.manual_seed(0)
    net = AffinityNet(PointwiseBackbone(4, 2), levels=(4, 5, 6)).eval()
    objective = AffinityObjective(net, radius=3, published=published)
    valid, inside = corner(12, 12, (24, 24), batch=2), corner(6, 6, (12, 12), batch=2)
    labels = labels_of((12, 12), seed=1).masked_fill(~inside, 255)
    found = []
    for fill in (0.0, 9.0):
        image = random(2, 3, 24, 24).masked_fill(~valid[:, None], fill)
        terms = objective(image, labels, valid)
        found.append(torch.stack([term.value for term in terms.values()]))
    assert torch.allclose(*found, atol=1e-6) != published


def test_it_learns_to_separate_two_areas() -> None:
    torch.manual_seed(0)
    net = AffinityNet(PointwiseBackbone(), levels=(4, 4, 4))
    objective = AffinityObjective(net, radius=3, published=False)
    image = 0.3 * random(1, 3, 32, 32)
    image[..., 16:] += 1.0
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[..., 4:] = 1
    labels[:, :2] = 255
    valid = corner(32, 32, (32, 32))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(120):
        terms = objective(image, labels, valid)
        loss = torch.stack([AFFINITY_WEIGHTS[n] * term.value for n, term in terms.items()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        affinity = net(image, radius=3)
    kinds = pair_labels(labels, 3, published=False)
    assert affinity[kinds.neg].mean() < 0.5 * affinity[kinds.fg | kinds.bg].mean()
