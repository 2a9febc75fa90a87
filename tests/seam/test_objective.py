"""The Siamese objective: its terms, their weights, and pixels that must not reach them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from toy_backbone import PointwiseBackbone, corner, random

from tag2mask.nn.backbones.base import Features
from tag2mask.nn.masked_resize import cells_inside
from tag2mask.nn.mean import Mean
from tag2mask.seam import losses
from tag2mask.seam.network import SeamNet
from tag2mask.seam.objective import (
    PUBLISHED_OBJECTIVE,
    PUBLISHED_WEIGHTS,
    ObjectiveSettings,
    SeamObjective,
    present_channels,
)
from tag2mask.seam.parts import LossInputs
from tag2mask.seam.pcm import PUBLISHED_PCM, PcmSettings
from tag2mask.seam.transform import ViewTransform

pytestmark = pytest.mark.smoke

TAGS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
SIZE = 24
ALL = torch.ones(2, SIZE, SIZE, dtype=torch.bool)
VIEWS = {
    "rescaled": ViewTransform(scale=0.5),
    "antialiased": ViewTransform(scale=0.6, size_multiple=4, antialias=True),
    "flipped": ViewTransform(flip=True),
    "rotated": ViewTransform(rotate=20.0),
    "translated": ViewTransform(translate=(0.2, -0.1)),
    "all": ViewTransform(scale=0.7, flip=True, rotate=-15.0, translate=(0.1, 0.1)),
}


PCM = replace(PUBLISHED_PCM, channels=(2, 3))
DEFAULT = replace(PUBLISHED_OBJECTIVE, published=False, gate_pcm=True)


def make_siamese(
    settings: ObjectiveSettings = DEFAULT, *, stride: int = 1, pcm: PcmSettings | None = PCM
) -> SeamObjective:
    torch.manual_seed(0)
    net = SeamNet(
        PointwiseBackbone(stride), 3, pcm=pcm, dropout=0.5, pooling="avg", centered=False
    ).eval()
    return SeamObjective(net, settings)


def weighted(**weights: float) -> ObjectiveSettings:
    return replace(DEFAULT, weights=replace(PUBLISHED_WEIGHTS, **weights))


def values(terms: dict[str, Mean]) -> dict[str, Tensor]:
    return {name: term.value.detach() for name, term in terms.items()}


def test_one_view_has_only_its_own_terms() -> None:
    siamese = make_siamese()
    terms = siamese(random(2, 3, SIZE, SIZE), TAGS, ALL, None)
    assert set(terms) == {"cls1", "min1"} == set(siamese.total_weights(two_views=False))


def test_two_views_have_all_terms() -> None:
    siamese = make_siamese()
    terms = siamese(random(2, 3, SIZE, SIZE), TAGS, ALL, VIEWS["rescaled"])
    assert set(terms) == set(siamese.total_weights(two_views=True))
    assert all(term.value.isfinite() and term.value > 0 for term in terms.values())


@pytest.mark.parametrize("off", ["cls", "cls_view2", "min_pool", "er", "ecr"])
def test_a_weight_of_0_switches_its_term_off(off: str) -> None:
    siamese = make_siamese(weighted(**{off: 0.0}))
    terms = siamese(random(2, 3, SIZE, SIZE), TAGS, ALL, VIEWS["rescaled"])
    names = {
        "cls": "cls1",
        "cls_view2": "cls2",
        "min_pool": "min1",
        "er": "er",
        "ecr": "ecr1",
    }
    assert names[off] not in terms
    weights = siamese.total_weights(two_views=True)
    assert weights[names[off]] == 0.0
    assert {name for name, weight in weights.items() if weight > 0} == set(terms)


def test_without_pcm_there_are_no_refined_terms() -> None:
    siamese = make_siamese(pcm=None)
    terms = siamese(random(2, 3, SIZE, SIZE), TAGS, ALL, VIEWS["rescaled"])
    assert set(terms) == {"cls1", "cls2", "er"}


def test_published_total() -> None:
    weights = make_siamese().total_weights(two_views=True)
    assert {name: weight for name, weight in weights.items() if weight > 0} == {
        "cls1": 0.5,
        "cls2": 0.5,
        "min1": 0.5,
        "min2": 0.5,
        "er": 1.0,
        "ecr1": 1.0,
        "ecr2": 1.0,
    }


def test_view_2_classification_is_weighed_against_view_1() -> None:
    weights = make_siamese(weighted(cls=2.0, cls_view2=0.25)).total_weights(two_views=True)
    assert weights["cls1"] == pytest.approx(1.6)
    assert weights["cls2"] == pytest.approx(0.4)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("map_stride", [1, 2])
def test_padding_does_not_matter(view: str, map_stride: int) -> None:
    siamese = make_siamese(replace(DEFAULT, map_stride=map_stride))
    valid = corner(16, 20, (SIZE, SIZE), batch=2)
    results = []
    for fill in (0.0, -8.0):
        image = random(2, 3, SIZE, SIZE).masked_fill(~valid[:, None], fill)
        results.append(values(siamese(image, TAGS, valid, VIEWS[view])))
    torch.testing.assert_close(results[0], results[1])


def test_padding_takes_part_as_published() -> None:
    siamese = make_siamese(replace(DEFAULT, published=True))
    valid = corner(16, 20, (SIZE, SIZE), batch=2)
    results = []
    for fill in (0.0, -8.0):
        image = random(2, 3, SIZE, SIZE).masked_fill(~valid[:, None], fill)
        results.append(values(siamese(image, TAGS, valid, VIEWS["rescaled"])))
    assert all(results[0][name] != results[1][name] for name in results[0])


@dataclass(frozen=True)
class Corrupted(ViewTransform):
    """Fills view 2 with a constant outside of view 1."""

    def image(self, x: Tensor) -> Tensor:
        everywhere = torch.ones(x.shape[0], *x.shape[2:], dtype=torch.bool)
        return super().image(x).masked_fill(~self.valid(everywhere)[:, None], 7.0)


def test_pixels_outside_of_view_1_enter_no_loss() -> None:
    siamese, image = make_siamese(), random(2, 3, SIZE, SIZE)
    geometry = {"scale": 0.7, "rotate": 25.0, "translate": (0.15, -0.1)}
    clean = siamese(image, TAGS, ALL, ViewTransform(**geometry))
    corrupted = siamese(image, TAGS, ALL, Corrupted(**geometry))
    torch.testing.assert_close(values(corrupted), values(clean))


def test_only_cells_inside_both_views_are_compared() -> None:
    transform, stride = ViewTransform(rotate=-15.0, translate=(0.2, -0.1)), 2
    siamese = make_siamese(replace(DEFAULT, map_stride=stride))
    valid = corner(17, 21, (SIZE, SIZE), batch=2)
    terms = siamese(random(2, 3, SIZE, SIZE), TAGS, valid, transform)
    size = tuple(-(-side // stride) for side in transform.output_size(SIZE, SIZE))
    cells = cells_inside(valid, (SIZE // stride, SIZE // stride))
    from_view1 = transform.valid(cells, size)
    in_view2 = cells_inside(transform.valid(valid), size)
    counted = (from_view1 & in_view2).sum(dim=(1, 2))
    assert terms["er"].count == (counted * TAGS.sum(dim=1)).sum()
    assert (from_view1 & ~in_view2).any() and (in_view2 & ~from_view1).any()


@pytest.mark.parametrize("view", [VIEWS["flipped"], ViewTransform(rotate=90.0), ViewTransform()])
def test_an_equivariant_network_has_no_equivariance_loss(view: ViewTransform) -> None:
    terms = make_siamese()(random(2, 3, SIZE, SIZE), TAGS, ALL, view)
    assert terms["er"].value.item() == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(terms["ecr1"].value, terms["ecr2"].value)


def test_each_view_is_classified_by_its_own_logits() -> None:
    siamese, image = make_siamese(), random(2, 3, SIZE, SIZE)
    terms = siamese(image, TAGS, ALL, VIEWS["rescaled"])
    for name, view in (("cls1", image), ("cls2", VIEWS["rescaled"].image(image))):
        logits = siamese.net(view, pool_on_grid=True).branch_logits
        torch.testing.assert_close(terms[name].value, losses.classification(logits, TAGS).value)
    assert terms["cls1"].value != terms["cls2"].value


class OneSidedBackbone(PointwiseBackbone):
    """Looks to the left, so that it is not equivariant to flips."""

    def forward(self, image: Tensor) -> Features:
        return super().forward(image + 2 * image.roll(1, dims=3))


def test_cross_equivariance_compares_each_branch_with_the_other() -> None:
    """ECR is |F(A(I)) - A(R(I))| and |A(F(I)) - R(A(I))|, and never compares a view with itself."""
    settings = replace(DEFAULT, published=True, gate_pcm=False, ecr_top=1.0)
    torch.manual_seed(0)
    net = SeamNet(
        OneSidedBackbone(1), 3, pcm=PCM, dropout=0.5, pooling="avg", centered=False
    ).eval()
    net.head.weight.data.abs_()  # every class has a map
    siamese, image = SeamObjective(net, settings), random(2, 3, SIZE, SIZE)
    terms = siamese(image, TAGS, ALL, VIEWS["flipped"])
    present = torch.cat([torch.ones(2, 1), TAGS], dim=1)[:, :, None, None]
    plain, refined = {}, {}
    for name, view in (("A(I)", image.flip(3)), ("I", image)):
        output = siamese.net(view)
        foreground = losses.max_norm(output.cam[:, 1:]) * present[:, 1:]
        plain[name] = losses.keep_largest(losses.with_background(foreground))
        refined[name] = losses.max_norm(output.refined) * present
    for term, target, found in (
        ("ecr1", plain["A(I)"], refined["I"].flip(3)),
        ("ecr2", plain["I"].flip(3), refined["A(I)"]),
    ):
        torch.testing.assert_close(terms[term].value, (target - found).abs().mean())
    own = (plain["I"] - refined["I"]).abs().mean()
    assert not torch.isclose(terms["ecr1"].value, own, rtol=0.01)
    assert not torch.isclose(terms["ecr1"].value, terms["ecr2"].value, rtol=0.01)
    assert (foreground[0] > 0).sum(dim=0).max() == 2, "only the largest of two classes counts"


def test_absent_classes_do_not_matter() -> None:
    siamese, image = make_siamese(), random(2, 3, SIZE, SIZE)
    tags = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    before = values(siamese(image, tags, ALL, VIEWS["rescaled"]))
    with torch.no_grad():
        siamese.net.head.weight[2] = random(6, 1, 1, seed=5)
    after = values(siamese(image, tags, ALL, VIEWS["rescaled"]))
    for name in before:
        if not name.startswith("cls"):
            torch.testing.assert_close(after[name], before[name], msg=name)


def test_default_averages_over_present_classes_only() -> None:
    image, tags = random(2, 3, SIZE, SIZE), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    er = {
        settings.published: make_siamese(settings)(image, tags, ALL, VIEWS["flipped"])["er"]
        for settings in (DEFAULT, replace(DEFAULT, published=True))
    }
    assert er[True].count.item() == 2 * 3 * SIZE * SIZE
    assert er[False].count.item() == 2 * 1 * SIZE * SIZE


def test_refined_terms_train_only_pcm() -> None:
    siamese = make_siamese()
    terms = siamese(random(2, 3, SIZE, SIZE), TAGS, ALL, VIEWS["rescaled"])
    for names, reached in ((("min1", "min2", "ecr1", "ecr2"), "pcm."), (("er",), "backbone.")):
        siamese.zero_grad()
        total = sum((terms[name].value for name in names), torch.zeros(()))
        total.backward(retain_graph=True)
        trained = {
            name
            for name, p in siamese.net.named_parameters()
            if p.grad is not None and p.grad.any()
        }
        assert any(name.startswith(reached) for name in trained)
        others = ("backbone.", "head.") if reached == "pcm." else ("pcm.",)
        assert not any(name.startswith(others) for name in trained), names


def test_each_map_is_normalized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    siamese, image = make_siamese(), random(2, 3, SIZE, SIZE)
    normalized: list[Tensor] = []
    max_norm = losses.max_norm

    def recorded(maps: Tensor, valid: Tensor | None = None) -> Tensor:
        normalized.append(maps)
        return max_norm(maps, valid)

    monkeypatch.setattr(losses, "max_norm", recorded)
    siamese(image, TAGS, ALL, VIEWS["rescaled"])
    assert len(normalized) == 4  # plain and refined of both views


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4)
    .map(torch.tensor)
    .map(Tensor.float)
)
def test_present_channels_are_background_and_every_tag(tags: Tensor) -> None:
    channels = present_channels(tags)
    assert channels.shape == (len(tags), 1 + max(1, int(tags.sum(1).max())))
    assert (channels[:, 1:] > channels[:, :-1]).all() and not channels[:, 0].any()
    assert channels.max() <= tags.shape[1]
    for row, kept in zip(tags, channels, strict=True):
        assert set((row.nonzero().flatten() + 1).tolist()) <= set(kept.tolist())


class Recorder(nn.Module):
    """An extra loss that keeps what it was given, and reads the features."""

    def forward(self, inputs: LossInputs) -> Mean:
        self.inputs = inputs
        total = torch.stack([view.features.square().sum() for view in inputs.views]).sum()
        return Mean(total, total.new_tensor(len(inputs.tags)))


@pytest.mark.parametrize("two_views", [False, True])
def test_an_extra_loss_gets_features_classes_and_progress(two_views: bool) -> None:
    recorder = Recorder()
    siamese = SeamObjective(make_siamese().net, DEFAULT, [(recorder, 0.1)])
    image = random(2, 3, SIZE, SIZE)
    terms = siamese(image, TAGS, ALL, VIEWS["rescaled"] if two_views else None, 0.25)
    found = recorder.inputs
    assert len(found.views) == 1 + two_views and found.progress == 0.25
    assert found.classes.tolist() == [[0, 2], [0, 1]]
    assert found.tags.tolist() == TAGS.gather(1, found.classes).tolist() == [[1, 1], [0, 1]]
    assert torch.equal(found.views[0].features, siamese.net.backbone(image).last)
    torch.autograd.backward(terms["extra1"].value)
    assert any(p.grad is not None and p.grad.any() for p in siamese.net.parameters())
