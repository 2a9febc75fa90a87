"""Multi-scale maps: batches, mirror images, extreme sizes, and both protocols."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn
from toy_backbone import PointwiseBackbone

from tag2mask.errors import DeviceError
from tag2mask.maps.cam_map import map_grid
from tag2mask.nn.batch_padding import BatchPadding
from tag2mask.seam.map_sums import above_median, scale_maps
from tag2mask.seam.multi_scale_inference import (
    PUBLISHED_INFERENCE,
    InferenceSettings,
    MultiScaleInference,
)
from tag2mask.seam.network import SeamNet
from tag2mask.seam.pcm import PUBLISHED_PCM
from tag2mask.seam.tiled_maps import MapTiles

CPU = torch.device("cpu")
PUBLISHED = PUBLISHED_INFERENCE
DEFAULT = replace(PUBLISHED, long_side=48, gate_pcm=True, map_stride=4, published=False)
PCM = replace(PUBLISHED_PCM, channels=(2, 3))


@pytest.fixture(scope="module")
def net() -> SeamNet:
    torch.manual_seed(1)
    return SeamNet(
        PointwiseBackbone(4, size_multiple=16),
        3,
        pcm=PCM,
        dropout=0.5,
        pooling="avg",
        centered=False,
    ).eval()


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (max(1, height // 8), max(1, width // 8), 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)


PHOTOS = [photo(64, 48, 1), photo(64, 48, 2), photo(40, 72, 3), photo(33, 21, 4)]
TAGS: list[tuple[int, ...]] = [(0, 2), (1,), (), (0, 1, 2)]


@pytest.mark.parametrize("settings", [DEFAULT, PUBLISHED], ids=["default", "published"])
def test_batched_equals_one_view_at_a_time(net: SeamNet, settings: InferenceSettings) -> None:
    batched = MultiScaleInference(net, settings, CPU)
    batched.photo_by_photo = False  # as on a GPU
    found = batched.maps(PHOTOS, TAGS)
    single = MultiScaleInference(net, replace(settings, batch_views=1), CPU)
    for index, maps in enumerate(found):
        (alone,) = single.maps([PHOTOS[index]], [TAGS[index]])
        assert maps.tags == alone.tags == TAGS[index]
        np.testing.assert_allclose(maps.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(maps.probabilities, alone.probabilities, atol=1e-5)


def test_padded_batches_give_the_same(net: SeamNet) -> None:
    wanted = MultiScaleInference(net, DEFAULT, CPU).maps(PHOTOS, TAGS)
    padded = MultiScaleInference(net, replace(DEFAULT, batch_views=5), CPU)
    padded.photo_by_photo, padded.pad_batch = False, BatchPadding(torch.device("cuda"), 5)
    for maps, same in zip(padded.maps(PHOTOS, TAGS), wanted, strict=True):
        np.testing.assert_allclose(maps.scores, same.scores, atol=1e-5)
        np.testing.assert_allclose(maps.probabilities, same.probabilities, atol=1e-5)


@pytest.mark.parametrize(("count", "wanted"), [(1, {6}), (2, {3}), (4, {1})])
def test_few_photos_share_all_threads(net: SeamNet, count: int, wanted: set[int]) -> None:
    seen: set[int] = set()
    hook = net.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    inference = MultiScaleInference(net, DEFAULT, CPU)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(6)
        inference.maps(PHOTOS[:count], TAGS[:count])
        assert seen == wanted
        inference.probabilities(PHOTOS[:count])
        assert seen == wanted
    finally:
        hook.remove()
        torch.set_num_threads(before)


@pytest.mark.parametrize(("large", "wanted"), [(10**6, {1}), (64 * 48, {1, 3}), (1, {3})])
def test_each_thread_computes_one_photo_and_large_ones_use_all_threads(
    net: SeamNet, monkeypatch: pytest.MonkeyPatch, large: int, wanted: set[int]
) -> None:
    seen: set[int] = set()
    hook = net.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    inference = MultiScaleInference(net, replace(DEFAULT, long_side=None, scales=(1.0,)), CPU)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        monkeypatch.setattr("tag2mask.seam.multi_scale_inference.SMALL_PIXELS", large)
        found = inference.maps([*PHOTOS, photo(80, 64)], [*TAGS, (1,)])
        assert seen == wanted and torch.get_num_threads() == 3
    finally:
        hook.remove()
        torch.set_num_threads(before)
    for index, maps in enumerate(found[:-1]):
        (alone,) = inference.maps([PHOTOS[index]], [TAGS[index]])
        assert maps.tags == alone.tags
        np.testing.assert_allclose(maps.scores, alone.scores, atol=1e-5)


@pytest.mark.parametrize(
    ("by_photo", "setting"), [(True, "runtime.threads"), (False, "infer_cam.batch_views")]
)
def test_out_of_memory_names_what_to_lower(
    net: SeamNet, monkeypatch: pytest.MonkeyPatch, by_photo: bool, setting: str
) -> None:
    def forward(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr(SeamNet, "forward", forward)
    inference = MultiScaleInference(net, DEFAULT, CPU)
    inference.photo_by_photo = by_photo  # False on a GPU
    with pytest.raises(DeviceError, match=f"Lower {setting} or infer_cam.long_side"):
        inference.maps(PHOTOS, TAGS)


def test_maps_of_a_mirrored_photo_are_mirrored(net: SeamNet) -> None:
    inference = MultiScaleInference(net, DEFAULT, CPU)
    (maps,) = inference.maps([PHOTOS[0]], [(0, 1)])
    (mirrored,) = inference.maps([ImageOps.mirror(PHOTOS[0])], [(0, 1)])
    np.testing.assert_allclose(mirrored.scores[..., ::-1], maps.scores, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [DEFAULT, replace(DEFAULT, long_side=None), PUBLISHED],
    ids=["default", "own size", "published"],
)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (200, 1), (17, 40)])
def test_any_photo_size(net: SeamNet, settings: InferenceSettings, size: tuple[int, int]) -> None:
    (maps,) = MultiScaleInference(net, settings, CPU).maps([photo(*size)], [(0, 2)])
    assert maps.scores.shape == (2, *map_grid(size[1], size[0], settings.map_stride))
    assert maps.scores.dtype == np.float32
    assert np.isfinite(maps.scores).all() and np.isfinite(maps.probabilities).all()
    if not settings.published:
        assert maps.scores.min() >= 0 and maps.scores.max() <= 1


@pytest.mark.parametrize("settings", [DEFAULT, PUBLISHED], ids=["default", "published"])
def test_the_stored_stride_does_not_change_the_scores(
    net: SeamNet, settings: InferenceSettings
) -> None:
    image = photo(240, 160)

    def full(stride: int) -> torch.Tensor:
        inference = MultiScaleInference(net, replace(settings, map_stride=stride), CPU)
        (maps,) = inference.maps([image], [(0, 2)])
        scores = torch.from_numpy(maps.scores).clamp(0, 1)[None]
        return F.interpolate(scores, (160, 240), mode="bilinear", align_corners=False)

    finest = full(1)
    for stride in (2, 4):
        assert (full(stride) - finest).mean().abs() < 0.003  # no bias of the scores


def test_without_tags_there_are_probabilities_but_no_map(net: SeamNet) -> None:
    (maps,) = MultiScaleInference(net, DEFAULT, CPU).maps([PHOTOS[0]], [()])
    assert maps.tags == () and maps.scores.shape == (0, 12, 16)
    (tagged,) = MultiScaleInference(net, replace(DEFAULT, gate_pcm=False), CPU).maps(
        [PHOTOS[0]], [(0, 2)]
    )
    np.testing.assert_allclose(maps.probabilities, tagged.probabilities, atol=1e-6)


def test_probabilities(net: SeamNet) -> None:
    inference = MultiScaleInference(net, DEFAULT, CPU)
    probabilities = inference.probabilities(PHOTOS)
    assert probabilities.shape == (4, 3) and probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()
    for row, maps in zip(probabilities, inference.maps(PHOTOS, TAGS), strict=True):
        np.testing.assert_allclose(maps.probabilities, row, atol=1e-5)
    assert not np.allclose(probabilities[0], probabilities[1])


def test_absent_classes_compete_in_pcm_unless_gated(net: SeamNet) -> None:
    gated = MultiScaleInference(net, DEFAULT, CPU).maps([PHOTOS[0]], [(0,)])[0]
    free = MultiScaleInference(net, replace(DEFAULT, gate_pcm=False), CPU)
    assert not np.allclose(gated.scores, free.maps([PHOTOS[0]], [(0,)])[0].scores)


def test_plain_branch_needs_no_pcm() -> None:
    torch.manual_seed(0)
    plain = SeamNet(
        PointwiseBackbone(4), 3, pcm=None, dropout=0.5, pooling="avg", centered=False
    ).eval()
    (maps,) = MultiScaleInference(plain, replace(DEFAULT, branch="plain"), CPU).maps(
        [PHOTOS[0]], [(1,)]
    )
    assert maps.scores.max() > 0.9


def test_pcm_runs_only_where_its_maps_are_used(net: SeamNet) -> None:
    calls: list[int] = []
    assert net.pcm is not None
    counting = net.pcm.register_forward_hook(lambda *_: calls.append(1))

    def count(**settings: object) -> int:
        calls.clear()
        chosen = replace(DEFAULT, scales=(1.0, 2.0), **settings)  # type: ignore[arg-type]
        MultiScaleInference(net, chosen, CPU).maps([PHOTOS[0]], [(0, 2)])
        return len(calls)

    assert count() > 0
    assert count(branch="plain") == 0
    assert count(branch="plain", tiles=MapTiles(64)) == 0
    inference = MultiScaleInference(net, DEFAULT, CPU)
    inference.probabilities(PHOTOS)
    inference.maps([PHOTOS[2]], [()])
    assert not calls
    counting.remove()


def test_pcm_changes_neither_plain_maps_nor_probabilities(net: SeamNet) -> None:
    without = copy.deepcopy(net)
    without.pcm = None
    settings = replace(DEFAULT, branch="plain")
    pairs = [MultiScaleInference(one, settings, CPU).maps(PHOTOS, TAGS) for one in (net, without)]
    for found, wanted in zip(*pairs, strict=True):
        assert np.array_equal(found.scores, wanted.scores)
        assert np.array_equal(found.probabilities, wanted.probabilities)


def test_published_protocol_step_by_step(net: SeamNet) -> None:
    image, classes = PHOTOS[3], (0, 2)
    mean, std = (torch.tensor(v)[:, None, None] for v in (net.backbone.mean, net.backbone.std))
    total = torch.zeros(len(classes), image.height, image.width)
    for scale in (0.5, 1.0, 1.5, 2.0):
        size = (round(image.width * scale), round(image.height * scale))
        view = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
        for mirrored in (False, True):
            pixels = torch.from_numpy(view[:, ::-1].copy() if mirrored else view.copy())
            with torch.no_grad():
                pair = net(((pixels.permute(2, 0, 1) / 255 - mean) / std)[None])
            assert pair.refined is not None
            maps = F.interpolate(
                pair.refined[:, 1:],
                (image.height, image.width),
                mode="bilinear",
                align_corners=False,
            )[0, list(classes)]
            total += maps.flip(2) if mirrored else maps
    wanted = scale_maps(total, clip=False).numpy()
    (maps,) = MultiScaleInference(net, PUBLISHED, CPU).maps([image], [classes])
    np.testing.assert_allclose(maps.scores, wanted, atol=1e-4)


def test_lowest_pixels_fall_below_0_only_as_published() -> None:
    total = torch.tensor([[[0.5, 0.5001, 0.6]], [[-1.0, 0.0, 2.0]]])
    published, clipped = scale_maps(total, clip=False), scale_maps(total)
    assert published[0, 0, 0] < -4
    assert clipped.min() == 0 and clipped.max() <= 1
    torch.testing.assert_close(clipped, published.clamp(0, 1))
    torch.testing.assert_close(clipped[:, 0, 2], torch.ones(2), atol=2e-4, rtol=0)


def test_a_constant_map_scales_to_0() -> None:
    assert not scale_maps(torch.full((1, 3, 3), 0.7)).any()


@pytest.mark.parametrize("branch", ["refined", "plain"])
def test_a_photo_decoded_at_a_smaller_size_has_nearly_the_same_maps(
    net: SeamNet, branch: str
) -> None:
    settings = replace(DEFAULT, scales=(0.5, 1.0), branch=branch)
    inference = MultiScaleInference(net, settings, CPU)
    full = photo(40, 32, 5).resize((320, 240), Image.Resampling.BICUBIC)
    assert inference.largest_view((240, 320)) == 48
    small = full.resize((80, 60), Image.Resampling.BOX)
    ((wanted,), (found,)) = (inference.maps([one], [(0, 2)], [(240, 320)]) for one in (full, small))
    assert found.scores.shape == wanted.scores.shape == (2, 60, 80)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=0.05)
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=0.01)
    np.testing.assert_allclose(
        *(inference.probabilities([one], [(240, 320)]) for one in (full, small)), atol=0.01
    )


def test_the_largest_view() -> None:
    def largest(**settings: object) -> int:
        net = SeamNet(
            PointwiseBackbone(4, size_multiple=16),
            3,
            pcm=None,
            dropout=0.5,
            pooling="avg",
            centered=False,
        )
        own_size = replace(DEFAULT, branch="plain", long_side=None)
        chosen = replace(own_size, **settings)  # type: ignore[arg-type]
        return MultiScaleInference(net, chosen, CPU).largest_view((300, 400))

    assert largest(long_side=96, scales=(0.5, 1.5)) == 144
    assert largest(long_side=90) == 176  # rounded to the backbone's multiple
    assert largest(long_side=96, scales=(0.5,)) == 96  # tags are predicted at scale 1
    assert largest(scales=(0.5, 2.0)) == 800
    assert largest(scales=(0.5,), published=True) == 400


@pytest.fixture(scope="module")
def plain_net() -> SeamNet:
    torch.manual_seed(1)
    return SeamNet(
        PointwiseBackbone(4, size_multiple=16),
        3,
        pcm=None,
        dropout=0.5,
        pooling="top",
        centered=False,
    ).eval()


@pytest.mark.parametrize("side", [64, 80, 100])
def test_tiles_equal_the_complete_view(plain_net: SeamNet, side: int) -> None:
    """Without a receptive field, tiles see all that the complete view sees."""
    complete = replace(DEFAULT, branch="plain", long_side=None, scales=(1.0, 2.0))
    tiled = replace(complete, tiles=MapTiles(side))
    photos, tags = [photo(150, 210, 5), photo(64, 48, 6)], [(0, 2), (1,)]
    wanted = MultiScaleInference(plain_net, complete, CPU).maps(photos, tags)
    found = MultiScaleInference(plain_net, tiled, CPU).maps(photos, tags)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
        assert one.scores.max() == pytest.approx(1.0, abs=1e-4)  # of the photo, not of each tile


def test_maps_of_best_cells_are_never_empty(plain_net: SeamNet) -> None:
    """A bias that puts all cells of a map below 0 doesn't hide the cells that stand out."""
    settings = replace(DEFAULT, branch="plain", long_side=None, scales=(1.0,))
    (wanted,) = MultiScaleInference(plain_net, settings, CPU).maps([photo(96, 64, 5)], [(0, 2)])
    low = copy.deepcopy(plain_net)
    low.head.bias = nn.Parameter(torch.full((4,), -100.0))
    (found,) = MultiScaleInference(low, settings, CPU).maps([photo(96, 64, 5)], [(0, 2)])
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    assert found.scores.max() == pytest.approx(1.0, abs=1e-4)
    assert (found.scores == 0).mean() > 0.2
    assert (above_median(torch.rand(3, 5, 5)) >= 0).sum(dim=(1, 2)).tolist() == [13, 13, 13]


def test_the_network_never_sees_more_than_a_tile(
    plain_net: SeamNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Size] = []
    forward = SeamNet.forward
    monkeypatch.setattr(
        SeamNet,
        "forward",
        lambda net, image, **others: seen.append(image.shape) or forward(net, image, **others),
    )
    settings = replace(DEFAULT, branch="plain", long_side=None, tiles=MapTiles(64))
    MultiScaleInference(plain_net, replace(settings, scales=(1.0,)), CPU).maps(
        [photo(200, 150)], [(1,)]
    )
    assert len(seen) > 4 and max(max(shape[2:]) for shape in seen) == 64
