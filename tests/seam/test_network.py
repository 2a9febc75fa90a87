"""The CAM network: sizes, pooling, padding, gating, and which parameters learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from toy_backbone import PointwiseBackbone, corner, random

from tag2mask.seam.network import SeamNet
from tag2mask.seam.pcm import PUBLISHED_PCM, PcmSettings, pcm_input

pytestmark = pytest.mark.smoke

PCM = replace(PUBLISHED_PCM, channels=(2, 3))
FINEST = replace(PCM, finest=True)


def make_net(
    *, stride: int = 4, low_stride: int | None = None, pcm: PcmSettings | None = PCM
) -> SeamNet:
    torch.manual_seed(0)
    return SeamNet(
        PointwiseBackbone(stride, low_stride),
        3,
        pcm=pcm,
        dropout=0.5,
        pooling="avg",
        centered=False,
    ).eval()


@pytest.mark.parametrize("pcm", [None, PCM])
def test_maps_have_the_requested_size(pcm: PcmSettings | None) -> None:
    net, image = make_net(pcm=pcm), random(2, 3, 20, 24)
    own = net(image, own_grid=True)
    for settings, size in (
        ({}, (20, 24)),
        ({"map_size": (10, 12)}, (10, 12)),
        ({"own_grid": True}, (5, 6)),
    ):
        pair = net(image, **settings)
        assert pair.logits.shape == (2, 3)
        assert pair.cam.shape == (2, 4, *size)
        assert (pair.refined is not None) == (pcm is not None)
        for maps, source in ((pair.cam, own.cam), (pair.refined, own.refined)):
            if source is not None:
                resized = F.interpolate(source, size, mode="bilinear", align_corners=True)
                torch.testing.assert_close(maps, resized)


def test_logits_pool_the_foreground_maps() -> None:
    net, image = make_net(), random(2, 3, 20, 24)
    published = net(image)
    torch.testing.assert_close(published.logits, published.cam[:, 1:].mean(dim=(2, 3)))
    own = net(image, own_grid=True, pool_on_grid=True)
    torch.testing.assert_close(own.logits, own.cam[:, 1:].mean(dim=(2, 3)))
    upsampled = F.interpolate(own.cam, (20, 24), mode="bilinear", align_corners=True)
    torch.testing.assert_close(published.cam, upsampled)


def test_pcm_on_the_finest_grid() -> None:
    net, image = make_net(stride=4, low_stride=2, pcm=FINEST), random(1, 3, 16, 16)
    pair = net(image, own_grid=True)
    assert net.pcm is not None and pair.cam.shape[2:] == (4, 4)
    features = net.backbone(image)
    seeds = F.interpolate(pair.cam, (8, 8), mode="bilinear", align_corners=True)
    refined = net.pcm(pcm_input(seeds), features.low, features.mid, image)
    assert pair.refined is not None and refined.shape[2:] == (8, 8)
    torch.testing.assert_close(pair.refined, refined)


def test_without_pcm_the_rest_is_the_same() -> None:
    net, image = make_net(), random(2, 3, 20, 24)
    complete, plain = net(image), net(image, refine=False)
    assert complete.refined is not None and plain.refined is None
    assert torch.equal(plain.cam, complete.cam) and torch.equal(plain.logits, complete.logits)


@pytest.mark.parametrize("pcm", [PCM, FINEST], ids=["cam", "finest"])
@pytest.mark.parametrize("pool_on_grid", [False, True])
def test_padding_does_not_matter(pcm: PcmSettings, pool_on_grid: bool) -> None:
    net = make_net(stride=4, low_stride=2, pcm=pcm)
    valid = corner(16, 8, (24, 24), batch=2)
    results = []
    for fill in (0.0, 30.0):
        image = random(2, 3, 24, 24).masked_fill(~valid[:, None], fill)
        results.append(net(image, valid=valid, pool_on_grid=pool_on_grid))
    logits_and_maps = [result[:3] for result in results]  # features are the backbone's own
    for one, other in zip(*logits_and_maps, strict=True):
        if one.ndim == 4:
            one, other = one * valid[:, None], other * valid[:, None]
        torch.testing.assert_close(one, other)


def test_each_photo_returns_its_own_channels() -> None:
    net, image = make_net(), random(2, 3, 20, 24)
    channels = torch.tensor([[0, 2], [0, 3]])
    complete, few = net(image), net(image, channels=channels)
    assert complete.refined is not None and few.refined is not None
    for maps, all_maps in ((few.cam, complete.cam), (few.refined, complete.refined)):
        for photo, own in enumerate(channels.tolist()):
            torch.testing.assert_close(maps[photo], all_maps[photo, own])
    torch.testing.assert_close(few.logits, complete.logits)


def test_absent_classes_stay_out_of_pcm() -> None:
    net, image = make_net(), random(1, 3, 16, 16)
    tags = torch.tensor([[1.0, 0.0, 1.0]])
    before = net(image, tags=tags).refined
    with torch.no_grad():
        net.head.weight[2] *= 50.0
    after = net(image, tags=tags).refined
    assert before is not None and after is not None
    torch.testing.assert_close(before, after)
    assert not after[:, 2].any()
    ungated = net(image).refined
    assert ungated is not None and ungated[:, 2].any()


def test_dropout_removes_complete_channels_before_the_head() -> None:
    net, image = make_net(), random(2, 3, 16, 16)
    given: list[torch.Tensor] = []
    net.head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    features = net.backbone(image).last
    net(image)
    torch.manual_seed(1)
    net.train()(image)
    assert torch.equal(given[0], features)
    kept = given[1].abs().amax(dim=(2, 3)) > 0
    torch.testing.assert_close(given[1], 2 * features * kept[:, :, None, None])
    assert (features.amax(dim=(2, 3)) > 0)[~kept].any() and kept.any()


def test_classification_never_supervises_the_background() -> None:
    net = make_net()
    net(random(1, 3, 16, 16)).logits.sum().backward()
    assert net.head.weight.grad is not None
    assert not net.head.weight.grad[0].any()
    assert net.head.weight.grad[1:].any()


def test_refined_maps_train_only_pcm() -> None:
    net = make_net()
    refined = net(random(1, 3, 16, 16)).refined
    assert refined is not None and net.pcm is not None
    refined.square().sum().backward()
    trained = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {f"pcm.{name}" for name, _ in net.pcm.named_parameters()}


def test_new_parameters_are_those_without_pretraining() -> None:
    net = make_net()
    new = {id(p) for p in net.new_parameters()}
    named = {name for name, p in net.named_parameters() if id(p) in new}
    assert named == {
        "head.weight",
        "pcm.embed_low.weight",
        "pcm.embed_mid.weight",
        "pcm.fuse.weight",
    }
    assert len(make_net(pcm=None).new_parameters()) == 1
    centered = SeamNet(PointwiseBackbone(4), 3, pcm=None, dropout=0.5, pooling="top", centered=True)
    assert len(centered.new_parameters()) == 2
