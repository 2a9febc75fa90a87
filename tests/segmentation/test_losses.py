"""Cross-entropy against torch's own; pixels without a label count nowhere."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tag2mask.classes import IGNORE
from tag2mask.nn.mean import Mean
from tag2mask.segmentation.losses import SegmenterObjective, absent_classes, cross_entropy

pytestmark = pytest.mark.smoke

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


def test_parts_of_a_batch_sum_to_the_batch() -> None:
    """Totals and counts are summed over ranks, which have different numbers of labeled pixels."""
    logits, labels = case(2, size=(4, 5, 6))
    labels[0] = IGNORE
    complete = cross_entropy(logits, labels)
    parts = [cross_entropy(logits[i::2], labels[i::2]) for i in (0, 1)]
    summed = Mean(parts[0].total + parts[1].total, parts[0].count + parts[1].count)
    torch.testing.assert_close(summed.value, complete.value)


def test_nothing_labeled_teaches_nothing() -> None:
    logits = torch.randn(1, CLASSES, 3, 3, requires_grad=True)
    found = cross_entropy(logits, torch.full((1, 3, 3), IGNORE))
    assert found.count == 0 and found.value == 0
    found.value.backward()
    assert logits.grad is not None and not logits.grad.any()


def test_pixels_without_label_have_no_gradient() -> None:
    logits, labels = case(3)
    logits.requires_grad_()
    cross_entropy(logits, labels).value.backward()
    assert logits.grad is not None
    unlabeled = (labels == IGNORE)[:, None].expand_as(logits)
    assert not logits.grad[unlabeled].any() and logits.grad[~unlabeled].any()


class Pointwise(nn.Module):
    """A network of one 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, CLASSES, 1)

    def logits_at(self, image: Tensor, stride: int) -> Tensor:
        return self.head(image[..., ::stride, ::stride])


def test_the_objective_trains_its_network() -> None:
    net = Pointwise()
    objective = SegmenterObjective(net, 1)  # type: ignore[arg-type]
    assert list(objective.state_dict()) == ["net.head.weight", "net.head.bias"]
    labels = torch.randint(3, (2, 8, 8))
    image = torch.randn(2, 3, 8, 8) * 0.2
    image.scatter_(1, labels[:, None], 1.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        (term,) = objective(image, labels).values()
        optimizer.zero_grad()
        term.value.backward()
        optimizer.step()
        losses.append(term.value.item())
    assert losses[-1] < 0.6 * losses[0]


def test_photos_may_have_weights() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40).reshape(2, 4, 5) % 3
    labels[1, 0] = IGNORE
    first, second = (cross_entropy(logits[[i]], labels[[i]]) for i in (0, 1))
    weighted = cross_entropy(logits, labels, torch.tensor([1.0, 4.0]))
    assert weighted.total == pytest.approx(float(first.total + 4 * second.total), rel=1e-6)
    assert weighted.count == first.count + 4 * second.count
    plain = cross_entropy(logits, labels)
    ones = cross_entropy(logits, labels, torch.ones(2))
    assert plain.total == ones.total and plain.count == ones.count


def test_on_a_grid_each_cell_learns_the_label_at_its_center() -> None:
    net = Pointwise()
    labels = torch.full((1, 8, 8), IGNORE)
    labels[:, 2::4, 2::4] = torch.tensor([[0, 1], [2, IGNORE]])
    objective = SegmenterObjective(net, 4)  # type: ignore[arg-type]
    loss = objective(torch.zeros(1, 3, 8, 8), labels)["cross_entropy"]
    assert loss.count == 3
    assert net.head.bias is not None
    torch.testing.assert_close(loss.value, -net.head.bias.log_softmax(0)[:3].mean())


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_absent_classes_cost_minus_the_logarithm_of_what_is_left(seed: int) -> None:
    """The formula, computed from probabilities in float64, pixel by pixel."""
    logits, labels = case(seed)
    tags = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    tags_apply = labels != IGNORE
    expected = 0.0
    for photo, row, column in tags_apply.nonzero().tolist():
        p = logits[photo, :, row, column].double().softmax(0)
        excluded = sum(p[1 + c] for c in range(3) if tags[photo, c] == 0)
        expected -= float(torch.log(1 - torch.as_tensor(excluded)))
    found = absent_classes(logits, tags, tags_apply)
    assert found.count == tags_apply.sum()
    assert float(found.total) == pytest.approx(expected, rel=1e-4)


def test_absent_classes_are_pushed_down_where_the_tags_apply() -> None:
    logits = torch.zeros(1, CLASSES, 1, 2, requires_grad=True)
    tags_apply = torch.tensor([[[True, False]]])
    absent_classes(logits, torch.tensor([[0.0, 1.0, 0.0]]), tags_apply).value.backward()
    assert logits.grad is not None
    assert (logits.grad[0, [1, 3], 0, 0] > 0).all() and (logits.grad[0, [0, 2], 0, 0] < 0).all()
    assert not logits.grad[..., 1].any()


def test_absent_classes_stay_finite() -> None:
    logits = torch.tensor([0.0, 200.0, -200.0]).reshape(1, 3, 1, 1).requires_grad_()
    found = absent_classes(logits, torch.tensor([[0.0, 1.0]]), torch.ones(1, 1, 1).bool())
    found.value.backward()
    assert found.value.item() == pytest.approx(200.0)
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_where_no_tag_applies_nothing_is_taught() -> None:
    logits = torch.randn(1, CLASSES, 3, 3, requires_grad=True)
    found = absent_classes(logits, torch.zeros(1, 3), torch.zeros(1, 3, 3).bool())
    assert found.count == 0 and found.value == 0
    found.value.backward()
    assert logits.grad is not None and not logits.grad.any()


def test_the_objective_looks_at_the_same_pixels_for_both_losses() -> None:
    net = Pointwise()
    objective = SegmenterObjective(net, 4)  # type: ignore[arg-type]
    tags_apply = torch.zeros(1, 8, 8).bool()
    tags_apply[:, 2::4, 2::4] = True
    image, labels, tags = torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8).long(), torch.zeros(1, 3)
    assert set(objective(image, labels)) == {"cross_entropy"}
    losses = objective(image, labels, None, tags, tags_apply)
    # Without tags only the background is left, as in the labels.
    torch.testing.assert_close(losses["absent"].value, losses["cross_entropy"].value)
    assert losses["absent"].count == losses["cross_entropy"].count == 4
