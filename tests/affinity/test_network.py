"""AffinityNet on several backbones: affinities, borders, padding, gradients, model files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from toy_backbone import PointwiseBackbone, corner, padded, random

from tag2mask.affinity.network import (
    AFFINITY_KIND,
    OFFICIAL_AFFINITY,
    AffinityNet,
    AffinitySpec,
    build_affinity_net,
    load_affinity_net,
    pair_affinity,
    save_affinity_net,
)
from tag2mask.affinity.pairs import existing_pairs, pair_offsets
from tag2mask.errors import WeightsError
from tag2mask.nn.official_checkpoints import AFFINITYNET_HEAD_NAMES, official_affinity_state
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam, load_seam, save_seam

SPEC = AffinitySpec(
    backbone="resnet10t", output_stride=16, pcm_levels=None, levels=(3, 4, 5), radius=4
)


def toy_net(stride: int = 4, low_stride: int | None = None) -> AffinityNet:
    torch.manual_seed(0)
    return AffinityNet(PointwiseBackbone(stride, low_stride), levels=(4, 5, 6)).eval()


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    radius=st.integers(1, 6),
    published=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_affinities_and_gradients_equal_a_plain_implementation(
    height: int, width: int, radius: int, published: bool
) -> None:
    features = random(2, 7, height, width).double().requires_grad_()
    exist = torch.from_numpy(existing_pairs((height, width), radius, published=published))
    wanted = torch.zeros(2, *exist.shape, dtype=torch.float64)
    for o, (dy, dx) in enumerate(pair_offsets(radius).tolist()):
        for y, x in exist[o].nonzero().tolist():
            distance = (features[:, :, y, x] - features[:, :, y + dy, x + dx]).abs().mean(dim=1)
            wanted[:, o, y, x] = torch.exp(-distance)
    single = features.detach().float().requires_grad_()
    affinity = pair_affinity(single, radius=radius, published=published)
    assert affinity.shape == wanted.shape and affinity.dtype == torch.float32
    torch.testing.assert_close(affinity.double(), wanted, atol=1e-6, rtol=0)
    weights = random(*wanted.shape, seed=1)
    if wanted.requires_grad:
        (wanted * weights).sum().backward()
        (affinity * weights).sum().backward()
        torch.testing.assert_close(single.grad.double(), features.grad, atol=1e-6, rtol=1e-4)
    else:
        assert not affinity.any()


def test_features_follow_the_formula() -> None:
    net, image = toy_net(stride=4, low_stride=2), random(2, 3, 16, 24)
    low, mid, last = net.backbone(image)
    levels = [
        F.interpolate(F.elu(embed(x)), low.shape[2:], mode="bilinear", align_corners=True)
        for embed, x in ((net.embed_low, low), (net.embed_mid, mid), (net.embed_last, last))
    ]
    found = net.embed(image)
    torch.testing.assert_close(found, F.elu(net.fuse(torch.cat(levels, dim=1))))
    assert (found < 0).any() and all((level < 0).any() for level in levels)


@pytest.mark.parametrize("image_size", [(4, 4), (3, 40), (40, 1), (30, 50)])
def test_maps_of_any_size(image_size: tuple[int, int]) -> None:
    net = toy_net()
    affinity = net(random(1, 3, *image_size), radius=5)
    grid = tuple(-(-side // net.stride) for side in image_size)
    assert affinity.shape == (1, 34, *grid)
    assert torch.equal(affinity[0] > 0, torch.from_numpy(existing_pairs(grid, 5, published=False)))
    assert affinity.max() <= 1


def test_the_grid_is_the_finest_level(low_stride: int = 2) -> None:
    net = toy_net(stride=8, low_stride=low_stride)
    image = random(2, 3, 32, 48)
    assert net.stride == low_stride
    assert net.embed(image).shape == (2, 15, 16, 24)
    assert net(image, radius=3).shape == (2, len(pair_offsets(3)), 16, 24)


@pytest.mark.parametrize("size", [(20, 28), (4, 4), (24, 8)])
def test_padding_changes_nothing_inside(size: tuple[int, int]) -> None:
    net, size_with_padding = toy_net(), (32, 40)
    photo = random(1, 3, *size)
    image = torch.cat([padded(photo, size_with_padding, fill) for fill in (0.0, 7.0)])
    with torch.no_grad():
        alone = net(photo, radius=4)[0]
        both = net(image, radius=4, valid=corner(*size, size_with_padding, batch=2))
    rows, columns = alone.shape[1:]
    for affinity in both:
        torch.testing.assert_close(affinity[:, :rows, :columns], alone)
        outside = affinity.clone()
        outside[:, :rows, :columns] = 0
        assert not outside.any(), "pairs with an end on padding have no affinity"


def test_padding_stays_out_of_enlarged_levels() -> None:
    net, size_with_padding = toy_net(stride=8, low_stride=4), (48, 64)
    photo = random(1, 3, 24, 40)
    image = torch.cat([padded(photo, size_with_padding, fill) for fill in (0.0, 7.0)])
    with torch.no_grad():
        one, other = net(image, radius=4, valid=corner(24, 40, size_with_padding, batch=2))
    torch.testing.assert_close(one, other)


def test_every_parameter_learns_and_new_ones_are_named() -> None:
    net = toy_net()
    net(random(2, 3, 16, 20), radius=3).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    new = {id(p) for p in net.new_parameters()}
    named = {name for name, p in net.named_parameters() if id(p) in new}
    assert named == {n for n, _ in net.named_parameters() if not n.startswith("backbone.")}
    assert named == set(AFFINITYNET_HEAD_NAMES.values())


@pytest.mark.parametrize(
    ("backbone", "output_stride", "stride"),
    [
        ("tf_efficientnet_lite0", 16, 8),
        ("tf_efficientnet_lite0", 8, 8),
        ("resnet10t", 32, 8),
        ("convnext_atto", 32, 8),
        ("regnety_002", 16, 8),
        ("mobilenetv3_small_100", 32, 8),
        ("test_vit", 16, 16),
        ("mambaout_femto", 32, 8),
    ],
)
def test_on_timm_backbones(backbone: str, output_stride: int, stride: int) -> None:
    net = build_affinity_net(
        replace(OFFICIAL_AFFINITY, backbone=backbone, output_stride=output_stride)
    ).eval()
    assert net.stride == stride
    with torch.no_grad():
        affinity = net(random(1, 3, 64, 96), radius=5)
    assert affinity.shape == (1, 34, 64 // stride, 96 // stride)
    inside = affinity[0][
        torch.from_numpy(existing_pairs(tuple(affinity.shape[2:]), 5, published=False))
    ]
    assert inside.isfinite().all() and inside.min() > 0 and inside.max() <= 1


def test_half_precision_gives_float32() -> None:
    net = toy_net()
    image = random(1, 3, 16, 20)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        affinity = net(image, radius=3)
    assert affinity.dtype == torch.float32
    torch.testing.assert_close(affinity, net(image, radius=3).detach(), atol=0.05, rtol=0)


def test_round_trip(tmp_path: Path) -> None:
    net = build_affinity_net(SPEC).eval()
    path = tmp_path / "model.safetensors"
    save_affinity_net(path, net, SPEC)
    loaded, spec = load_affinity_net(path)
    assert spec == SPEC and not loaded.training
    image = random(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(image, radius=4), loaded(image, radius=4))


def test_kinds_of_models_are_distinguished(tmp_path: Path) -> None:
    affinity, cam = tmp_path / "affinity.safetensors", tmp_path / "cam.safetensors"
    save_affinity_net(affinity, build_affinity_net(SPEC), SPEC)
    spec = replace(OFFICIAL_SEAM, classes=("a",), backbone="resnet10t", output_stride=16)
    save_seam(cam, build_seam(spec), spec)
    with pytest.raises(WeightsError, match=r"this is a CAM model, not an AffinityNet.*cam\.safe"):
        load_affinity_net(cam)
    with pytest.raises(WeightsError, match=r"this is an AffinityNet, not a CAM model.*affinity\."):
        load_seam(affinity)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such model file.*train-affinity"):
        load_affinity_net(tmp_path / "nowhere.safetensors")
    with pytest.raises(WeightsError, match="no such weight file"):
        load_affinity_net(tmp_path / "nowhere.pth")
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="holds no tag2mask model"):
        load_affinity_net(path)
    save_file({"weight": torch.zeros(1)}, path, metadata={AFFINITY_KIND.key: json.dumps({"x": 1})})
    with pytest.raises(WeightsError, match="another version"):
        load_affinity_net(path)
    torch.save({"fc8.weight": torch.zeros(1)}, tmp_path / "resnet38_SEAM.pth")
    with pytest.raises(WeightsError, match=r"this is a CAM checkpoint.*resnet38_SEAM\.pth"):
        load_affinity_net(tmp_path / "resnet38_SEAM.pth")


def test_official_names() -> None:
    """Names equal the published ones; built on the meta device, so without memory."""
    with torch.device("meta"):
        names = set(build_affinity_net(OFFICIAL_AFFINITY).state_dict())
    ours = {ours: official for official, ours in AFFINITYNET_HEAD_NAMES.items()}
    official = {ours.get(name, name.removeprefix("backbone.")): torch.zeros(()) for name in names}
    assert set(official_affinity_state(official)) == names


def test_differences_are_not_stored() -> None:
    """34 differences of 448 channels would take 34 times the memory of the features."""
    features = random(1, 64, 20, 20).requires_grad_()
    stored: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: stored.append(t.numel()) or t, lambda t: t
    ):
        pair_affinity(features, radius=5)
    assert sum(stored) < 3 * features.numel()
