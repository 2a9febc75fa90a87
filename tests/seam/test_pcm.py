"""PCM against plain implementations: in tiles, with padding, within its memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_backbone import corner, padded, random

from tag2mask.seam.pcm import PUBLISHED_PCM, PixelCorrelation, correlate, pcm_input

PCM = replace(PUBLISHED_PCM, channels=(2, 3))
SIDES = st.integers(1, 7)


def slow_pcm_input(cam: Tensor) -> Tensor:
    """Compute the published steps one position at a time."""
    out = torch.zeros_like(cam)
    for image in range(cam.shape[0]):
        scaled = cam[image].clamp(min=0)
        for channel in range(1, cam.shape[1]):
            scaled[channel] = (scaled[channel] - 1e-5).clamp(min=0) / (scaled[channel].max() + 1e-5)
        for y in range(cam.shape[2]):
            for x in range(cam.shape[3]):
                column = scaled[1:, y, x]
                out[image, 0, y, x] = 1 - column.max()
                for channel, value in enumerate(column, start=1):
                    out[image, channel, y, x] = value if value == column.max() else 0
    return out


def slow_correlate(maps: Tensor, features: Tensor, power: float = 1.0) -> Tensor:
    """Compute the full affinity matrix of each image, as published (power 1)."""
    refined = []
    for image in range(maps.shape[0]):
        keys = features[image].flatten(1)
        keys = keys / (keys.norm(dim=0, keepdim=True) + 1e-5)
        affinity = (keys.T @ keys).clamp(min=0) ** power
        affinity = affinity / (affinity.sum(dim=0, keepdim=True) + 1e-5)
        refined.append((maps[image].flatten(1) @ affinity).view_as(maps[image]))
    return torch.stack(refined)


@settings(max_examples=25, deadline=None)
@given(h=SIDES, w=SIDES, classes=st.integers(1, 5), seed=st.integers(0, 99))
def test_input_as_published(h: int, w: int, classes: int, seed: int) -> None:
    cam = random(2, classes + 1, h, w, seed=seed)
    torch.testing.assert_close(pcm_input(cam), slow_pcm_input(cam))


@settings(max_examples=25, deadline=None)
@given(h=SIDES, w=SIDES, down=st.integers(0, 4), right=st.integers(0, 4), seed=st.integers(0, 99))
def test_padding_changes_nothing(h: int, w: int, down: int, right: int, seed: int) -> None:
    size = (h + down, w + right)
    cam, features = random(1, 3, h, w, seed=seed), random(1, 8, h, w, seed=seed + 1)
    pcm = PixelCorrelation(1, 1, PCM)
    with torch.no_grad():
        alone = pcm.refine(pcm_input(cam), features)
        valid = corner(h, w, size)
        maps = pcm_input(padded(cam, size, fill=9.0), valid=valid)
        refined = pcm.refine(maps, padded(features, size, fill=-7.0), valid=valid)
    torch.testing.assert_close(refined[..., :h, :w], alone)
    assert not maps.masked_select(~valid[:, None]).any()
    assert not refined.masked_select(~valid[:, None]).any()


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_absent_classes_do_not_matter(seed: int) -> None:
    cam = random(1, 5, 6, 5, seed=seed)
    tags = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    gated = pcm_input(cam, tags=tags)
    alone = pcm_input(cam[:, [0, 1, 3]])
    torch.testing.assert_close(gated[:, [0, 1, 3]], alone)
    assert not gated[:, [2, 4]].any()


def test_without_any_tag_all_is_background() -> None:
    maps = pcm_input(random(1, 3, 4, 4), tags=torch.zeros(1, 2))
    torch.testing.assert_close(maps[:, 0], torch.ones(1, 4, 4))
    assert not maps[:, 1:].any()


@pytest.mark.parametrize("block_mib", [0, 1, 2, 64])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("size", [(20, 31), (1, 1), (3, 2)])
def test_tiles_equal_the_dense_affinity(
    block_mib: int, power: float, size: tuple[int, int]
) -> None:
    maps = random(2, 4, *size).abs()
    features = random(2, 6, *size, seed=1).requires_grad_()
    towards = random(2, 4, *size, seed=2)
    dense = slow_correlate(maps, features, power)
    (wanted,) = torch.autograd.grad((dense * towards).sum(), features)
    refined = correlate(maps, features, power=power, block_mib=block_mib)
    (gradient,) = torch.autograd.grad((refined * towards).sum(), features)
    torch.testing.assert_close(refined, dense)
    torch.testing.assert_close(gradient, wanted)
    with torch.no_grad():
        again = correlate(maps, features, power=power, block_mib=block_mib)
    torch.testing.assert_close(again, dense)


@pytest.mark.parametrize("size", [(3, 4), (6, 11)], ids=["one-tile", "three-tiles"])
@pytest.mark.parametrize("power", [1.0, 1.5, 3.0])
def test_gradient_of_the_features_is_exact(power: float, size: tuple[int, int]) -> None:
    maps = random(1, 2, *size).abs().double()
    features = random(1, 3, *size, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: correlate(maps, x, power=power, block_mib=0), features, fast_mode=True
    )


def test_the_module_uses_its_power() -> None:
    torch.manual_seed(0)
    one, three = (
        PixelCorrelation(4, 5, replace(PUBLISHED_PCM, power=power)) for power in (1.0, 3.0)
    )
    three.load_state_dict(one.state_dict())
    maps, features = random(1, 3, 4, 4).abs(), random(1, 195, 4, 4, seed=1)
    with torch.no_grad():
        fused = one.fuse(features)
        torch.testing.assert_close(three.refine(maps, features), slow_correlate(maps, fused, 3.0))
        torch.testing.assert_close(one.refine(maps, features), slow_correlate(maps, fused))


@pytest.mark.parametrize("block_mib", [64, 0], ids=["one-tile", "three-tiles"])
def test_half_precision_stays_close(block_mib: int) -> None:
    maps, features = random(2, 4, 9, 8).abs(), random(2, 6, 9, 8, seed=1).requires_grad_()
    (wanted,) = torch.autograd.grad(
        correlate(maps, features, power=1.0, block_mib=64).square().sum(), features
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refined = correlate(maps, features, power=1.0, block_mib=block_mib)
    assert refined.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(refined.float().square().sum(), features)
    assert (gradient - wanted).norm() < 0.05 * wanted.norm()


def test_sums_beyond_float16_stay_finite() -> None:
    maps, features = torch.full((1, 1, 10, 10), 1000.0), torch.ones(1, 2, 10, 10)
    features.requires_grad_()
    with torch.autocast("cpu", dtype=torch.float16):
        refined = correlate(maps, features, power=1.0, block_mib=0)  # three tiles, in sum 100,000
    torch.testing.assert_close(refined, maps, rtol=1e-3, atol=0.0, check_dtype=False)
    (gradient,) = torch.autograd.grad(refined.float().sum(), features)
    assert gradient.isfinite().all()


def test_learns_only_from_its_own_convolutions() -> None:
    pcm = PixelCorrelation(4, 5, PCM)
    low = random(1, 4, 6, 6).abs().requires_grad_()
    mid = random(1, 5, 3, 3).abs().requires_grad_()
    maps = random(1, 3, 6, 6).abs().requires_grad_()
    pcm(maps, low, mid, random(1, 3, 24, 24)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in pcm.parameters())
    assert low.grad is None and mid.grad is None and maps.grad is None


def test_features_on_padding_do_not_leak_through_resizing() -> None:
    pcm = PixelCorrelation(4, 5, PCM)
    maps, image = random(1, 3, 8, 8).abs(), random(1, 3, 32, 32)
    low, mid = random(1, 4, 8, 8, seed=1).abs(), random(1, 5, 4, 4, seed=2).abs()
    valid = corner(16, 32, (32, 32))
    with torch.no_grad():
        clean = pcm(maps, low, mid, image, valid=valid)
        for x, rows in ((image, 16), (low, 4), (mid, 2)):
            x[:, :, rows:] = 5.0
        corrupted = pcm(maps, low, mid, image, valid=valid)
    torch.testing.assert_close(corrupted, clean)


MEMORY = """
import re, sys, torch
from tag2mask.seam.pcm import correlate
batch, height, width, train = map(int, sys.argv[1:])
torch.set_num_threads(1)
# Not getrusage: its peak is inherited from the process that starts this one.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
def run(h, w):
    torch.manual_seed(0)
    maps = torch.rand(batch, 21, h, w)
    features = torch.randn(batch, 192, h, w, requires_grad=bool(train))
    with torch.set_grad_enabled(bool(train)):
        refined = correlate(maps, features, power=1.0, block_mib=64)
        if train:
            refined.sum().backward()
run(8, 8)  # buffers of the libraries
before = peak()
run(height, width)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("batch", "height", "width", "train"),
    [(1, 94, 125, False), (2, 125, 125, False), (1, 125, 125, True)],
    ids=["inference", "inference-500px-2x-mirrored", "training"],
)
def test_memory_stays_within_300_mb(batch: int, height: int, width: int, train: bool) -> None:
    arguments = [str(int(value)) for value in (batch, height, width, train)]
    result = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True
    )
    used = float(result.stdout)
    dense = batch * (height * width) ** 2 * 4 / 2**20
    assert 10 < used < 300 < dense


NETWORK_MEMORY = """
import re, sys, torch
from dataclasses import replace
from PIL import Image
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.seam.multi_scale_inference import InferenceSettings, MultiScaleInference
from tag2mask.seam.network import SeamNet
from tag2mask.seam.pcm import PUBLISHED_PCM
from toy_backbone import PointwiseBackbone
name, published = sys.argv[1], sys.argv[2] == "published"
torch.set_num_threads(1)
photo = Image.effect_noise((500, 500), 60).convert("RGB")
cells = []
# Plain first, in the same process: the peak then rises only by the memory of PCM.
for pcm in (False, True):
    backbone = PointwiseBackbone(8) if name == "pointwise" else build_backbone(
        name, weights="none", output_stride=8)
    pcm_settings = replace(PUBLISHED_PCM, finest=not published) if pcm else None
    net = SeamNet(backbone, 20, pcm=pcm_settings, dropout=0.5, pooling="avg", centered=False).eval()
    settings = InferenceSettings(
        scales=(2.0,), flip=False, long_side=None, branch="refined" if pcm else "plain",
        gate_pcm=True, map_stride=4, batch_views=8, published=published, tiles=None)
    inference = MultiScaleInference(net, settings, torch.device("cpu"))
    if pcm:
        net.pcm.register_forward_hook(lambda module, inputs, output: cells.append(output.shape))
    inference.maps([Image.new("RGB", (64, 64))], [(0, 1)])  # buffers of the libraries
    inference.maps([photo], [(0, 1)])
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(*cells[-1][2:])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "behavior"),
    [("pointwise", "default"), ("pointwise", "published"), ("tf_efficientnet_lite0", "published")],
)
def test_pcm_takes_less_than_300_mb_on_top_of_the_network(name: str, behavior: str) -> None:
    """A photo of 500 x 500 px at scale 2 and stride 8 has 15,625 positions."""
    done = subprocess.run(
        [sys.executable, "-c", NETWORK_MEMORY, name, behavior],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1] / "nn",  # toy_backbone
        timeout=900,
    )
    without, peak, height, width = (int(value) for value in done.stdout.split())
    assert height * width >= (15_625 if behavior == "published" else 15_000)
    extra = (peak - without) * 1024 / 1e6
    assert extra < 300
    if name == "pointwise":  # the network itself needs almost no memory
        assert extra > 60
