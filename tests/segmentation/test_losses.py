"""Losses of label maps compared with simple implementations; unlabeled pixels don't count."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tag2mask.classes import IGNORE
from tag2mask.nn.mean import Mean
from tag2mask.segmentation.losses import (
    SegmenterObjective,
    balanced_weights,
    cross_entropy,
    dice,
    lovasz,
)

CLASSES = 4


def case(
    seed: int,
    ignored: float = 0.2,
    size: tuple[int, int, int] = (2, 5, 6),
) -> tuple[Tensor, Tensor]:
    """Return logits and labels; the last class occurs in no label."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size[0], CLASSES, *size[1:], generator=generator)
    labels = torch.randint(CLASSES - 1, size, generator=generator)
    labels[torch.rand(size, generator=generator) < ignored] = IGNORE
    return logits, labels


@settings(max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.9]))
def test_cross_entropy_equals_torchs(seed: int, ignored: float) -> None:
    logits, labels = case(seed, ignored)
    term = cross_entropy(logits, labels)
    if term.count > 0:
        expected = F.cross_entropy(logits, labels, ignore_index=IGNORE)
        torch.testing.assert_close(term.value, expected)
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    term = cross_entropy(logits, labels, None, weights)
    if term.count >= 1:
        expected = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE)
        torch.testing.assert_close(term.value, expected)


def test_pixels_weigh_as_much_as_they_are_sure() -> None:
    logits, labels = case(1)
    sure = torch.rand(labels.shape)
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    known = labels != IGNORE
    expected = (loss * sure)[known].sum() / sure[known].sum()
    torch.testing.assert_close(cross_entropy(logits, labels, sure).value, expected)
    unsure = torch.where(labels == 0, 0.0, 1.0)
    without = torch.where(labels == 0, IGNORE, labels)
    torch.testing.assert_close(
        cross_entropy(logits, labels, unsure).value, cross_entropy(logits, without).value
    )


def test_parts_of_a_batch_sum_to_the_batch() -> None:
    """Totals and counts are summed over ranks, which have different numbers of labeled pixels."""
    logits, labels = case(2, size=(4, 5, 6))
    labels[0] = IGNORE
    complete = cross_entropy(logits, labels)
    parts = [cross_entropy(logits[i::2], labels[i::2]) for i in (0, 1)]
    summed = Mean(parts[0].total + parts[1].total, parts[0].count + parts[1].count)
    torch.testing.assert_close(summed.value, complete.value)


def jaccard_loss(logits: Tensor, labels: Tensor, kind: str) -> float:
    """Class by class, pixel by pixel, in double precision."""
    known = labels.flatten() != IGNORE
    share = logits.double().softmax(1).transpose(0, 1).flatten(1)[:, known]
    truth = labels.flatten()[known]
    losses = []
    for label in range(CLASSES):
        is_it = (truth == label).double()
        if not is_it.any():
            continue
        if kind == "dice":
            overlap = 2 * float((share[label] * is_it).sum())
            losses.append(1 - overlap / float(share[label].sum() + is_it.sum()))
            continue
        # Berman et al., eq. 8-9: errors in falling order, each with the rise of the Jaccard loss
        # of the set of those before it.
        errors = (is_it - share[label]).abs()
        order = errors.argsort(descending=True).tolist()
        before, loss, all_of_it = 0.0, 0.0, float(is_it.sum())
        for place in range(len(order)):
            wrong = is_it[order[: place + 1]]
            inside = all_of_it - float(wrong.sum())
            union = all_of_it + float((1 - wrong).sum())
            loss += float(errors[order[place]]) * (1 - inside / union - before)
            before = 1 - inside / union
        losses.append(loss)
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("term", "kind"), [(dice, "dice"), (lovasz, "lovasz")])
@pytest.mark.parametrize("seed", range(4))
def test_overlap_losses_equal_the_transcription(term, kind: str, seed: int) -> None:
    logits, labels = case(seed)
    found = term(logits, labels)
    assert found.value.item() == pytest.approx(jaccard_loss(logits, labels, kind), abs=1e-5)
    assert found.count == 3, "the classes that the labels show"


@pytest.mark.parametrize("term", [cross_entropy, dice, lovasz])
def test_no_labeled_pixels_give_no_loss_and_no_gradient(term) -> None:
    logits = torch.randn(1, CLASSES, 3, 3, requires_grad=True)
    found = term(logits, torch.full((1, 3, 3), IGNORE))
    assert found.count == 0 and found.value == 0
    found.value.backward()
    assert logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("term", [cross_entropy, dice, lovasz])
def test_pixels_without_label_have_no_gradient(term) -> None:
    logits, labels = case(3)
    logits.requires_grad_()
    term(logits, labels).value.backward()
    assert logits.grad is not None
    unlabeled = (labels == IGNORE)[:, None].expand_as(logits)
    assert not logits.grad[unlabeled].any() and logits.grad[~unlabeled].any()


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=6).filter(any), st.floats(0.01, 1.0))
def test_balance_weighs_rare_classes_more(pixels: list[int], balance: float) -> None:
    counts = torch.tensor(pixels)
    weights = balanced_weights(counts, balance)
    assert weights is not None
    assert ((weights > 0) == (counts > 0)).all()
    mean = float((weights.double() * counts).sum() / counts.sum())
    assert mean == pytest.approx(1, rel=1e-4), "the average pixel weighs 1"
    order = counts[counts > 0].argsort()
    falling = weights[counts > 0][order]
    assert (falling.diff() <= 1e-6 * falling[:-1]).all()


def test_full_balance_gives_classes_the_same_say_and_none_changes_nothing() -> None:
    counts = torch.tensor([900, 90, 0, 10])
    assert balanced_weights(counts, 0.0) is None
    weights = balanced_weights(counts, 1.0)
    assert weights is not None
    total = (weights * counts)[counts > 0]
    torch.testing.assert_close(total, total[:1].expand_as(total))
    half = balanced_weights(counts, 0.5)
    assert half is not None
    assert float(half[3] / half[0]) == pytest.approx(math.sqrt(90))


class Pointwise(nn.Module):
    """A network of one 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image)


@pytest.mark.parametrize(
    "weights",
    [
        {"cross_entropy": 1.0, "dice": 0.0, "lovasz": 0.0},
        {"cross_entropy": 0.0, "dice": 2.0},
        {"lovasz": 0.5},
        {"cross_entropy": 1.0, "dice": 1.0, "lovasz": 1.0},
    ],
)
def test_terms_are_those_that_weigh_something_and_teach(weights: dict[str, float]) -> None:
    net = Pointwise()
    objective = SegmenterObjective(net, weights, torch.ones(CLASSES))  # type: ignore[arg-type]
    assert list(objective.state_dict()) == ["net.head.weight", "net.head.bias"]
    labels = torch.randint(3, (2, 8, 8))
    image = torch.randn(2, 3, 8, 8) * 0.2
    image.scatter_(1, labels[:, None], 1.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        terms = objective(image, labels)
        assert list(terms) == [name for name, weight in weights.items() if weight > 0]
        loss = torch.stack([weights[name] * term.value for name, term in terms.items()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
