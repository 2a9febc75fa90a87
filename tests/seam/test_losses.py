"""Loss terms against slow reference implementations; padding, absent classes, ranks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_backbone import corner, padded, random

from tag2mask.nn.mean import Mean
from tag2mask.seam import losses
from tag2mask.seam.objective import present_channels

pytestmark = pytest.mark.smoke

SIDES = st.integers(2, 6)
SEEDS = st.integers(0, 99)
TAGS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])

Term = Callable[[Tensor, Tensor, Tensor, Tensor | None], Mean]
TERMS: dict[str, Term] = {
    "min_pooling": lambda a, b, tags, valid: losses.min_pooling(a, tags, valid),
    "equivariance": losses.equivariance,
    "cross_equivariance": lambda a, b, tags, valid: losses.cross_equivariance(
        losses.keep_largest(gated(a, tags)), b, tags, top=0.2, valid=valid
    ),
}


def gated(maps: Tensor, tags: Tensor) -> Tensor:
    """Set absent classes to 0, as the Siamese objective does."""
    return torch.cat([maps[:, :1], maps[:, 1:] * tags[:, :, None, None]], dim=1)


def maps_of(h: int, w: int, seed: int, classes: int = 3) -> Tensor:
    return random(2, classes + 1, h, w, seed=seed).sigmoid()


def slow_max_norm(maps: Tensor) -> Tensor:
    out = torch.zeros_like(maps)
    for image in range(maps.shape[0]):
        for channel in range(maps.shape[1]):
            p = maps[image, channel].clamp(min=0)
            scaled = (p - p.min() - 1e-5).clamp(min=0) / (p.max() - p.min() + 1e-5)
            out[image, channel] = scaled
    return out


def slow_min_pooling(refined: Tensor, tags: Tensor) -> float:
    """Published: the lowest quarter of all pixels of each image."""
    total, count = 0.0, 0
    for image in range(refined.shape[0]):
        values = (refined[image, 1:] * tags[image, :, None, None]).max(dim=0).values
        lowest = sorted(values.flatten().tolist())[: values.numel() // 4]
        total += sum(max(0.0, value) for value in lowest)
        count += len(lowest)
    return total / count if count else 0.0


def slow_cross(target: Tensor, refined: Tensor, tags: Tensor, top: float) -> float:
    """Published: the top share of all channels and pixels of each image."""
    means = []
    for image in range(target.shape[0]):
        errors = []
        for channel in range(target.shape[1]):
            present = 1.0 if channel == 0 else float(tags[image, channel - 1])
            difference = (target[image, channel] - refined[image, channel] * present).abs()
            errors += difference.flatten().tolist()
        kept = sorted(errors, reverse=True)[: int(len(errors) * top)]
        means.append(sum(kept) / len(kept))
    return sum(means) / len(means)


@settings(max_examples=25, deadline=None)
@given(h=SIDES, w=SIDES, seed=SEEDS)
def test_terms_as_published(h: int, w: int, seed: int) -> None:
    one, two = random(2, 4, h, w, seed=seed), random(2, 4, h, w, seed=seed + 1)
    normed = losses.max_norm(one)
    torch.testing.assert_close(normed, slow_max_norm(one))
    quarter = losses.min_pooling(one, TAGS).value.item()
    assert quarter == pytest.approx(slow_min_pooling(one, TAGS), abs=1e-6)
    difference = (gated(one, TAGS) - gated(two, TAGS))[:, 1:].abs().mean().item()
    assert losses.equivariance(one, two, TAGS).value.item() == pytest.approx(difference, abs=1e-6)
    target = losses.keep_largest(gated(one, TAGS))
    cross = losses.cross_equivariance(target, two, TAGS, top=0.2).value.item()
    assert cross == pytest.approx(slow_cross(target, two, TAGS, 0.2), abs=1e-6)
    logits = random(2, 3, seed=seed)
    published = F.multilabel_soft_margin_loss(logits, TAGS)
    torch.testing.assert_close(losses.classification(logits[:, None], TAGS).value, published)


def test_min_pooling_of_valid_pixels_takes_a_quarter() -> None:
    one = maps_of(4, 5, seed=2)
    everywhere = torch.ones(2, 4, 5, dtype=torch.bool)
    quarter = losses.min_pooling(one, TAGS, everywhere)
    assert quarter.count.item() == 2 * 5
    assert quarter.value.item() == pytest.approx(slow_min_pooling(one, TAGS), abs=1e-6)
    # Of 17 valid pixels, 5: a part of a pixel counts as one.
    assert (
        losses.min_pooling(one, TAGS, everywhere & (torch.arange(20) < 17).view(4, 5)).count == 10
    )


def test_keep_largest() -> None:
    maps = random(2, 4, 3, 3).clamp(min=0)
    before = maps.clone()
    kept = losses.keep_largest(maps)
    assert torch.equal(maps, before), "the authors' code overwrites its input, this must not"
    assert torch.equal(kept[:, 0], maps[:, 0])
    assert torch.equal(kept[:, 1:].amax(dim=1), maps[:, 1:].amax(dim=1))
    assert ((kept[:, 1:] > 0).sum(dim=1) <= 1).all()


def test_background_is_1_minus_the_largest_class() -> None:
    foreground = random(1, 3, 2, 2).sigmoid()
    maps = losses.with_background(foreground)
    torch.testing.assert_close(maps[:, 0] + foreground.amax(dim=1), torch.ones(1, 2, 2))
    assert torch.equal(maps[:, 1:], foreground)


@settings(max_examples=25, deadline=None)
@given(
    h=SIDES,
    w=SIDES,
    down=st.integers(0, 4),
    right=st.integers(0, 4),
    seed=SEEDS,
    fill=st.sampled_from([-9.0, 0.0, 9.0]),
)
def test_padding_changes_no_term(
    h: int, w: int, down: int, right: int, seed: int, fill: float
) -> None:
    size = (h + down, w + right)
    one, two = maps_of(h, w, seed), maps_of(h, w, seed + 1)
    all_valid, valid = corner(h, w, (h, w), batch=2), corner(h, w, size, batch=2)
    for name, term in TERMS.items():
        alone = term(one, two, TAGS, all_valid)
        wide = term(padded(one, size, fill), padded(two, size, -fill), TAGS, valid)
        torch.testing.assert_close(tuple(wide), tuple(alone), msg=name)
    normed = losses.max_norm(padded(one, size, fill), valid)
    torch.testing.assert_close(normed[..., :h, :w], losses.max_norm(one))
    assert not normed.masked_select(~valid[:, None]).any()


@pytest.mark.parametrize("name", TERMS)
def test_absent_classes_do_not_change_a_term(name: str) -> None:
    one, two = maps_of(5, 4, seed=3), maps_of(5, 4, seed=4)
    valid = corner(5, 4, (5, 4), batch=2)
    few = TERMS[name](one, two, TAGS, valid)
    absent = maps_of(5, 4, seed=5, classes=196)
    tags = torch.cat([TAGS, torch.zeros(2, 197)], dim=1)
    wide_one, wide_two = torch.cat([one, absent], dim=1), torch.cat([two, absent], dim=1)
    many = TERMS[name](wide_one, wide_two, tags, valid)
    torch.testing.assert_close(tuple(many), tuple(few))


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("masked", [False, True])
def test_sums_and_counts_of_half_batches_add_up(name: str, masked: bool) -> None:
    """Ranks rely on this: sums and counts can be added, means can't."""
    one, two = maps_of(5, 4, seed=6), maps_of(5, 4, seed=7)
    valid = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0)) < 0.7
    halves = [
        TERMS[name](
            one[i : i + 1], two[i : i + 1], TAGS[i : i + 1], valid[i : i + 1] if masked else None
        )
        for i in range(2)
    ]
    full = TERMS[name](one, two, TAGS, valid if masked else None)
    torch.testing.assert_close(halves[0].total + halves[1].total, full.total)
    torch.testing.assert_close(halves[0].count + halves[1].count, full.count)


@pytest.mark.parametrize("name", TERMS)
def test_without_valid_pixels_value_and_gradient_are_0(name: str) -> None:
    one, two = maps_of(4, 4, seed=8).requires_grad_(), maps_of(4, 4, seed=9).requires_grad_()
    value = TERMS[name](one, two, TAGS, torch.zeros(2, 4, 4, dtype=torch.bool)).value
    assert value.item() == 0.0
    if value.requires_grad:
        value.backward()
        assert all(x.grad is None or not x.grad.any() for x in (one, two))


def test_max_norm_without_valid_pixels_is_0_and_differentiable() -> None:
    maps = maps_of(3, 3, seed=1).requires_grad_()
    normed = losses.max_norm(maps, torch.zeros(2, 3, 3, dtype=torch.bool))
    normed.sum().backward()
    assert not normed.any()
    assert maps.grad is not None and maps.grad.isfinite().all() and not maps.grad.any()


@settings(max_examples=25, deadline=None)
@given(h=SIDES, w=SIDES, seed=SEEDS, top=st.sampled_from([0.1, 0.2, 0.5, 1.0]))
def test_mining_takes_its_share_of_present_channels(h: int, w: int, seed: int, top: float) -> None:
    one, two = maps_of(h, w, seed), maps_of(h, w, seed + 1)
    valid = corner(h, w, (h, w), batch=2)
    term = losses.cross_equivariance(gated(one, TAGS), two, TAGS, top=top, valid=valid)
    channels = [1 + int(n) for n in TAGS.sum(dim=1)]
    assert term.count.item() == sum(math.ceil(n * h * w * top) for n in channels)
    mean = losses.cross_equivariance(gated(one, TAGS), two, TAGS, top=1.0, valid=valid).value
    assert term.value >= mean - 1e-6


@settings(max_examples=50, deadline=None)
@given(
    seed=SEEDS,
    share=st.sampled_from([0.2, 0.25, 0.5, 1.0]),
    largest=st.booleans(),
    levels=st.sampled_from([2, 5, 10_000]),
)
def test_the_extreme_share_is_that_of_sorted_rows(
    seed: int, share: float, largest: bool, levels: int
) -> None:
    """Few levels give many ties, also at the boundary."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(levels, (3, 41), generator=generator).double() / levels
    counted = torch.rand(3, 41, generator=generator) < 0.6
    counted[2] = False
    found = losses._mean_of_extremes(values.requires_grad_(), counted, share=share, largest=largest)
    kept = [math.ceil(int(row.sum()) * share) for row in counted]
    wanted = sum(
        sum(sorted(row[keep].tolist(), reverse=largest)[:count])
        for row, keep, count in zip(values, counted, kept, strict=True)
    )
    assert found.total.item() == pytest.approx(wanted)
    assert found.count.item() == sum(kept)
    found.total.backward()
    assert values.grad is not None and not values.grad[~counted].any()
    torch.testing.assert_close(values.grad.sum(dim=1), torch.tensor(kept).double())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4)
    .map(torch.tensor)
    .map(Tensor.float),
    st.booleans(),
    st.sampled_from([0.05, 0.2, 0.7, 1.0]),
    SEEDS,
)
def test_maps_of_present_channels_give_the_same_terms(
    tags: Tensor, masked: bool, top: float, seed: int
) -> None:
    torch.manual_seed(seed)
    batch, classes = tags.shape
    present = torch.cat([torch.ones(batch, 1), tags], dim=1)[:, :, None, None]
    one, other = (torch.rand(batch, classes + 1, 5, 4) * present for _ in range(2))
    valid = torch.rand(batch, 5, 4) > 0.3 if masked else None
    channels = present_channels(tags)

    def kept(maps: Tensor) -> Tensor:
        return maps.gather(1, channels[:, :, None, None].expand(-1, -1, 5, 4))

    few = tags.gather(1, channels[:, 1:] - 1)
    pairs = [
        (
            losses.equivariance(one, other, tags, valid),
            losses.equivariance(kept(one), kept(other), few, valid, num_classes=classes),
        ),
        (
            losses.cross_equivariance(one, other, tags, top=top, valid=valid),
            losses.cross_equivariance(
                kept(one), kept(other), few, top=top, valid=valid, num_classes=classes
            ),
        ),
        (losses.min_pooling(one, tags, valid), losses.min_pooling(kept(one), few, valid)),
    ]
    for full, part in pairs:
        assert part.count == full.count
        assert part.total.item() == pytest.approx(full.total.item(), abs=1e-4)
