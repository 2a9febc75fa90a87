"""The multi-dilated head: equal to plain torch, each branch classified, padding excluded."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from toy_backbone import PointwiseBackbone, corner, padded, random

from tag2mask.nn.model_file import read_spec
from tag2mask.seam import losses
from tag2mask.seam.mdc import PUBLISHED_RATES, MdcHead, localization_map
from tag2mask.seam.model import OFFICIAL_SEAM, SEAM_KIND, build_seam, load_seam, save_seam
from tag2mask.seam.network import SeamNet
from tag2mask.seam.objective import PUBLISHED_OBJECTIVE, PUBLISHED_WEIGHTS, SeamObjective
from tag2mask.seam.pcm import PUBLISHED_PCM
from tag2mask.seam.transform import ViewTransform

CLASSES = 3
TAGS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
DEFAULT = replace(PUBLISHED_OBJECTIVE, published=False, gate_pcm=True)
SPEC = replace(
    OFFICIAL_SEAM,
    classes=("a", "b"),
    backbone="test_efficientnet",
    output_stride=16,
    pcm=False,
    head="mdc",
    mdc_rates=(1, 2, 5),
    mdc_channels=8,
)


def make_head(inputs: int = 6, rates: tuple[int, ...] = PUBLISHED_RATES) -> MdcHead:
    torch.manual_seed(0)
    head = MdcHead(inputs, CLASSES, rates=rates, channels=5)
    for convolution in head.convolutions:
        torch.nn.init.normal_(convolution.bias)
    return head


def make_net(*, pcm: bool = False, stride: int = 2) -> SeamNet:
    backbone = PointwiseBackbone(stride)
    settings = replace(PUBLISHED_PCM, channels=(2, 3)) if pcm else None
    return SeamNet(
        backbone,
        CLASSES,
        pcm=settings,
        dropout=0.5,
        pooling="avg",
        centered=False,
        head=make_head(),
    ).eval()


def plain(
    head: MdcHead, last: torch.Tensor, rates: tuple[int, ...] = PUBLISHED_RATES
) -> list[torch.Tensor]:
    """Compute each branch's map tap by tap: cell (y, x) reads (y + i rate, x + j rate)."""
    maps = []
    h, w = last.shape[2:]
    for rate, convolution, classifier in zip(
        rates, head.convolutions, head.classifiers, strict=True
    ):
        around = F.pad(last, (rate, rate, rate, rate))
        hidden = convolution.bias[:, None, None].expand(len(last), -1, h, w)
        for i in range(3):
            for j in range(3):
                tap = around[:, :, i * rate : i * rate + h, j * rate : j * rate + w]
                hidden = hidden + torch.einsum("bihw,oi->bohw", tap, convolution.weight[..., i, j])
        maps.append(
            torch.einsum("bihw,oi->bohw", hidden.clamp(min=0), classifier.weight[..., 0, 0])
        )
    return maps


def published_map(maps: list[torch.Tensor]) -> torch.Tensor:
    return maps[0] + sum(maps[1:]) / (len(maps) - 1)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (4, 11), (20, 13)])
def test_branches_equal_a_plain_implementation(h: int, w: int) -> None:
    head, last = make_head(), random(2, 6, h, w).clamp(min=0)
    wanted = plain(head, last)
    branches = head(last)
    torch.testing.assert_close(branches, torch.stack(wanted, dim=1))
    torch.testing.assert_close(localization_map(branches), published_map(wanted))


def test_the_rate_sets_the_distance_that_a_branch_sees() -> None:
    head, last = make_head(), random(1, 6, 21, 21).clamp(min=0)
    other = last.clone()
    other[:, :, 10, 10] += 3.0
    for rate, moved in zip(
        PUBLISHED_RATES, (head(other) - head(last))[0].abs().sum(1) > 1e-5, strict=True
    ):
        rows, columns = moved.nonzero(as_tuple=True)
        assert {*rows.tolist()} == {*columns.tolist()} == {10 - rate, 10, 10 + rate}


def test_dilated_branches_are_averaged() -> None:
    branches = torch.zeros(1, 4, 1, 1, 3)
    branches[0, 0, 0, 0, 0] = 6.0  # the plain branch alone
    branches[0, 2, 0, 0, 1] = 6.0  # one of three
    branches[0, 1:, 0, 0, 2] = 6.0  # all three
    assert localization_map(branches).flatten().tolist() == [6.0, 2.0, 6.0]


@pytest.mark.parametrize("pcm", [False, True])
def test_the_network_returns_the_map_and_logits_of_the_head(pcm: bool) -> None:
    net, image = make_net(pcm=pcm), random(2, 3, 24, 20)
    maps = plain(net.head, net.backbone(image).last)
    pair = net(image, own_grid=True)
    torch.testing.assert_close(pair.cam, published_map(maps))
    pooled = torch.stack([one[:, 1:].mean(dim=(2, 3)) for one in maps], dim=1)
    torch.testing.assert_close(pair.branch_logits, pooled)
    torch.testing.assert_close(pair.logits, pooled.mean(dim=1))
    assert (pair.refined is not None) == pcm
    # Published: pooled at the size of the image.
    enlarged = F.interpolate(maps[2], (24, 20), mode="bilinear", align_corners=True)
    torch.testing.assert_close(net(image).branch_logits[:, 2], enlarged[:, 1:].mean(dim=(2, 3)))


@pytest.mark.parametrize("views", [False, True])
def test_every_branch_is_classified(views: bool) -> None:
    net, image = make_net(), random(2, 3, 24, 24)
    siamese = SeamObjective(
        net, replace(DEFAULT, weights=replace(PUBLISHED_WEIGHTS, er=0.0), map_stride=2)
    )
    view = ViewTransform(scale=0.5) if views else None
    terms = siamese(image, TAGS, torch.ones(2, 24, 24, dtype=torch.bool), view)
    assert set(terms) == ({"cls1", "cls2"} if views else {"cls1"})
    for name, seen in (("cls1", image), ("cls2", view.image(image) if view else None)):
        if seen is not None:
            maps = plain(net.head, net.backbone(seen).last)
            single = [
                F.multilabel_soft_margin_loss(one[:, 1:].mean(dim=(2, 3)), TAGS) for one in maps
            ]
            torch.testing.assert_close(terms[name].value, torch.stack(single).mean())
    sum(term.value for term in terms.values()).backward()
    for classifier in net.head.classifiers:
        assert not classifier.weight.grad[0].any()  # the background
        assert classifier.weight.grad[1:].any()
    assert all(convolution.weight.grad.any() for convolution in net.head.convolutions)


def test_each_branch_learns_to_classify() -> None:
    torch.manual_seed(0)
    net = make_net(stride=4)
    siamese = SeamObjective(net, DEFAULT)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    image = 0.1 * random(2, 3, 24, 24)
    for row, tags in enumerate(TAGS):  # each class is a corner of its own color
        for tag in tags.nonzero().flatten().tolist():
            image[row, tag, 8 * tag : 8 * tag + 8, :12] += 2.0
    for _ in range(25):
        term = siamese(image, TAGS, torch.ones(2, 24, 24, dtype=torch.bool), None)["cls1"]
        optimizer.zero_grad()
        term.value.backward()
        optimizer.step()
    predicted = net(image).branch_logits > 0
    assert torch.equal(predicted, TAGS.bool()[:, None].expand_as(predicted))


def test_the_term_is_independent_of_the_number_of_branches() -> None:
    logits = random(2, 1, CLASSES)
    one, four = (losses.classification(logits.expand(-1, n, -1), TAGS) for n in (1, 4))
    torch.testing.assert_close(one.value, four.value)


@pytest.mark.parametrize("pcm", [False, True])
@pytest.mark.parametrize("pool_on_grid", [False, True])
def test_padding_does_not_matter(pcm: bool, pool_on_grid: bool) -> None:
    net, valid = make_net(pcm=pcm), corner(16, 20, (40, 44), batch=2)
    photo = random(2, 3, 16, 20)
    alone = net(photo, pool_on_grid=True, own_grid=True)
    results = []
    for fill in (0.0, 30.0):
        image = padded(photo, (40, 44), fill)
        results.append(net(image, valid=valid, pool_on_grid=pool_on_grid, own_grid=pool_on_grid))
    logits_and_maps = [result[:3] for result in results]  # features are the backbone's own
    for one, other in zip(*logits_and_maps, strict=True):
        if one is not None and one.ndim == 4:
            inside = valid[:, ::2, ::2] if pool_on_grid else valid
            one, other = one * inside[:, None], other * inside[:, None]
        torch.testing.assert_close(one, other)
    if pool_on_grid:  # padding has the effect of the photo's border
        torch.testing.assert_close(results[0].cam[:, :, :8, :10], alone.cam)
        torch.testing.assert_close(results[0].branch_logits, alone.branch_logits)


def test_padding_takes_part_as_published() -> None:
    net, photo = make_net(), random(1, 3, 16, 20)
    first, second = (net(padded(photo, (24, 24), fill)).branch_logits for fill in (0.0, 30.0))
    assert (first != second).all()


def test_new_parameters_are_the_heads() -> None:
    net = make_net()
    assert {id(p) for p in net.new_parameters()} == {id(p) for p in net.head.parameters()}


def test_model_file_round_trip(tmp_path: Path) -> None:
    net = build_seam(SPEC).eval()
    save_seam(tmp_path / "model.safetensors", net, SPEC)
    loaded, found = load_seam(tmp_path / "model.safetensors")
    assert found == SPEC
    assert [c.dilation for c in loaded.head.convolutions] == [(1, 1), (2, 2), (5, 5)]
    image = random(1, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(net(image), loaded(image), strict=True):
            assert (one is None) == (other is None)
            assert one is None or torch.equal(one, other)


def test_a_file_that_names_no_head_has_a_cam_head(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    older = {
        name: value
        for name, value in asdict(SPEC).items()
        if name not in ("head", "mdc_rates", "mdc_channels")
    }
    save_file({"weight": torch.zeros(2)}, path, metadata={SEAM_KIND.key: json.dumps(older)})
    assert read_spec(path, SEAM_KIND).head == "cam"
