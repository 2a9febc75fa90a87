"""Photos of any size -> labels: held to a plain pipeline, and tiles to the whole."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from local_segmenter import LocalSegmenter, colorful
from tag2mask.crf.dense_crf import CrfSettings
from tag2mask.errors import DataError
from tag2mask.segmentation.inference import labeling as module
from tag2mask.segmentation.inference.labeling import LabelingSettings, PhotoLabeler

WHOLE = LabelingSettings(long_side=None, tile=10_000, confidence="float32", probabilities=True)
TILES = replace(WHOLE, tile=64, overlap=16)


def photo_of(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(colorful(height, width, seed))


def plainly(photo: Image.Image, settings: LabelingSettings) -> np.ndarray:
    """Probabilities (C+1, H, W) at the photo's size, by torch and one view after the other."""
    net, base = LocalSegmenter(), settings.long_side or max(photo.size)
    grid = [max(1, round(side * base / max(photo.size))) for side in (photo.height, photo.width)]
    total = torch.zeros(1, 4, *grid)
    for scale in settings.scales:
        height, width = (max(1, round(side * scale)) for side in grid)
        view = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC)) / 255
        for turn in (1, -1) if settings.flip else (1,):
            image = np.zeros((1, 3, -(-height // 8) * 8, -(-width // 8) * 8), np.float32)
            image[0, :, :height, :width] = ((view[:, ::turn] - net.mean) / net.std).transpose(
                2, 0, 1
            )
            found = net.probabilities(image)[:, :, :height, :width][..., ::turn].copy()
            total += F.interpolate(
                torch.from_numpy(found), grid, mode="bilinear", align_corners=False
            )
    size = photo.height, photo.width
    return F.interpolate(
        total / total.sum(1, keepdim=True), size, mode="bilinear", align_corners=False
    )[0].numpy()


@pytest.mark.parametrize("size", [(61, 90), (90, 61), (1, 1), (1, 300), (7, 200), (150, 150)])
@pytest.mark.parametrize(
    "settings",
    [
        WHOLE,
        replace(WHOLE, long_side=64),
        replace(WHOLE, long_side=128, scales=(0.5, 1, 1.75)),
        replace(WHOLE, long_side=100, flip=True, scales=(0.75,)),
    ],
)
def test_a_whole_photo_as_a_plain_pipeline_does_it(
    size: tuple[int, int], settings: LabelingSettings
) -> None:
    photo = photo_of(*size)
    found = PhotoLabeler(LocalSegmenter(), settings)(photo)
    wanted = plainly(photo, settings)
    assert found.labels.shape == size
    chosen = np.take_along_axis(wanted, found.labels[None].astype(np.intp), axis=0)[0]
    np.testing.assert_allclose(chosen, wanted.max(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.confidence, wanted.max(axis=0), atol=1e-4)
    assert found.probabilities is not None
    if found.probabilities.shape[1:] == size:
        np.testing.assert_allclose(found.probabilities, wanted, atol=2e-3)
    else:
        assert max(found.probabilities.shape[1:]) == settings.long_side


@pytest.mark.parametrize("long_side", [None, 300])
def test_tiles_agree_with_the_whole(long_side: int | None) -> None:
    """But for a few pixels around their borders, which fade."""
    photo = photo_of(170, 250)
    whole = PhotoLabeler(LocalSegmenter(), replace(WHOLE, long_side=long_side))(photo)
    tiles = PhotoLabeler(LocalSegmenter(), replace(TILES, long_side=long_side))(photo)
    assert whole.probabilities is not None and tiles.probabilities is not None
    difference = np.abs(whole.probabilities.astype(np.float32) - tiles.probabilities).max(axis=0)
    height, width = difference.shape
    assert difference.max() < 0.05
    far = np.ones((height, width), bool)  # further than the network sees from any tile's border
    for border in range(48, max(height, width), 48):
        for edge in (border, border + 16):
            far[max(edge - 3, 0) : edge + 3] = far[:, max(edge - 3, 0) : edge + 3] = False
    for end in ((-(-height // 8) * 8 - 64, 0), (-(-width // 8) * 8 - 64, 1)):
        np.moveaxis(far, end[1], 0)[end[0] - 3 : end[0] + 3] = False
    assert far.mean() > 0.3
    # Parts of a photo are resized to within 1 of 255 as in the whole.
    assert difference[far].max() < (1e-3 if long_side is None else 2e-2)
    assert (whole.labels != tiles.labels).mean() < 0.002


def test_tiles_at_scales_and_mirrored() -> None:
    settings = {"scales": (0.5, 1.0, 2.0), "flip": True}
    photo = photo_of(150, 190)
    whole = PhotoLabeler(LocalSegmenter(), replace(WHOLE, **settings))(photo)
    segmenter = LocalSegmenter()
    tiles = PhotoLabeler(segmenter, replace(TILES, tile=128, **settings))(photo)
    assert max(max(shape[2:]) for shape in segmenter.shapes) == 128
    assert (whole.labels != tiles.labels).mean() < 0.01


def test_the_number_of_callers_changes_nothing() -> None:
    photo = photo_of(200, 300)
    one, four = (PhotoLabeler(LocalSegmenter(caller_threads=n), TILES)(photo) for n in (1, 4))
    np.testing.assert_array_equal(one.labels, four.labels)
    np.testing.assert_array_equal(one.confidence, four.confidence)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [WHOLE, TILES])
def test_only_the_background_and_the_given_tags_win(settings: LabelingSettings) -> None:
    photo = photo_of(100, 130)
    free = PhotoLabeler(LocalSegmenter(), settings)(photo)
    gated = PhotoLabeler(LocalSegmenter(), settings)(photo, tags=[2, 0])
    assert set(np.unique(free.labels)) == {0, 1, 2, 3}
    assert set(np.unique(gated.labels)) == {0, 1, 3}
    kept = free.labels != 2
    np.testing.assert_array_equal(gated.labels[kept], free.labels[kept])
    assert free.confidence is not None and gated.confidence is not None
    assert (gated.confidence >= free.confidence - 1e-6)[kept].all()  # shares of fewer classes
    assert (PhotoLabeler(LocalSegmenter(), settings)(photo, tags=[]).labels == 0).all()
    # The probabilities stay those of the network.
    np.testing.assert_array_equal(gated.probabilities, free.probabilities)  # type: ignore[arg-type]


def test_several_photos_at_once() -> None:
    segmentation = PhotoLabeler(LocalSegmenter(batched=True), replace(WHOLE, long_side=64))
    photos = [photo_of(60, 90), photo_of(58, 90, 1), photo_of(120, 180, 2)]
    views = [segmentation.views(photo, (photo.height, photo.width)) for photo in photos]
    assert len({view.padded for view in views}) == 1
    together = segmentation.label(views, [None, [1], None])
    for photo, tags, found in zip(photos, (None, [1], None), together, strict=True):
        np.testing.assert_array_equal(segmentation(photo, tags=tags).labels, found.labels)
    assert segmentation.photos_at_once == 8
    half = PhotoLabeler(LocalSegmenter(batched=True), replace(WHOLE, flip=True, batch_size=9))
    assert half.photos_at_once == 4
    assert PhotoLabeler(LocalSegmenter(), WHOLE).photos_at_once == 1


def test_a_photo_decoded_small_is_labeled_at_its_size() -> None:
    segmentation = PhotoLabeler(LocalSegmenter(), replace(WHOLE, long_side=64, scales=(1.0, 1.5)))
    assert segmentation.decode_at((300, 800)) == 96
    whole = photo_of(300, 800)
    small = whole.resize((200, 75), Image.Resampling.BOX)
    found = segmentation(small, (300, 800))
    assert found.labels.shape == (300, 800)
    assert (found.labels != segmentation(whole).labels).mean() < 0.02


@pytest.mark.parametrize("settings", [WHOLE, TILES])
def test_the_crf_follows_the_photos_contours(settings: LabelingSettings) -> None:
    rng = np.random.default_rng(0)
    scene = np.full((80, 120, 3), (30, 40, 30), np.uint8)
    scene[20:60, 30:90] = (230, 60, 40)
    noisy = np.clip(scene + rng.normal(0, 60, scene.shape), 0, 255).astype(np.uint8)
    truth = (scene[..., 0] > 100).astype(np.uint8)
    plain = PhotoLabeler(LocalSegmenter(), settings)(Image.fromarray(noisy))
    crf = CrfSettings(iterations=5, bilateral_srgb=60.0)
    sharp = PhotoLabeler(LocalSegmenter(), replace(settings, crf=crf))(Image.fromarray(noisy))
    assert (sharp.labels != truth).mean() < 0.6 * (plain.labels != truth).mean()
    np.testing.assert_array_equal(sharp.probabilities, plain.probabilities)  # type: ignore[arg-type]
    one_class = PhotoLabeler(LocalSegmenter(), replace(settings, crf=crf))(
        Image.new("RGB", (70, 50))
    )
    assert (one_class.labels == 0).all()
    assert (one_class.confidence == 1).all()  # type: ignore[attr-defined]


def test_the_crf_sees_a_large_photo_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CRF_PIXELS", 2000)
    segmentation = PhotoLabeler(LocalSegmenter(), replace(WHOLE, long_side=32, crf=CrfSettings()))
    views = segmentation.views(photo_of(100, 200), (100, 200))
    assert views.crf_image is not None and views.crf_image.shape == (32, 63, 3)
    assert segmentation.decode_at((100, 200)) == 63
    assert segmentation(photo_of(100, 200)).labels.shape == (100, 200)


def test_what_is_not_finite_is_an_error() -> None:
    class Broken(LocalSegmenter):
        def probabilities(self, images: np.ndarray) -> np.ndarray:
            return super().probabilities(images) * np.float32(np.nan)

    for settings in (WHOLE, TILES, replace(WHOLE, crf=CrfSettings())):
        with pytest.raises(DataError, match="aren't finite"):
            PhotoLabeler(Broken(), settings)(photo_of(80, 100))


def test_progress_of_tiles() -> None:
    told: list[tuple[int, int]] = []
    PhotoLabeler(LocalSegmenter(), TILES)(
        photo_of(100, 100), progress=lambda *counts: told.append(counts)
    )
    assert told == [(i, 4) for i in range(1, 5)]


def test_memory_does_not_grow_with_the_photo() -> None:
    """Only the labels do, one byte a pixel, and one strip with the width."""
    settings = LabelingSettings(long_side=None, tile=64, overlap=16, confidence="uint8")
    segmenter, peaks = LocalSegmenter(caller_threads=2), []
    PhotoLabeler(segmenter, settings)(photo_of(80, 80))  # compiles the loops
    for height, width in ((200, 300), (600, 900)):
        photo = photo_of(height, width)
        tracemalloc.start()
        PhotoLabeler(segmenter, settings)(photo)
        peaks.append(tracemalloc.get_traced_memory()[1] - 2 * height * width)
        tracemalloc.stop()
    floats = 4 * 4 * 600 * 900  # of the larger one; the smaller one has a ninth
    assert peaks[1] - peaks[0] < 0.08 * floats
    assert peaks[1] < 0.2 * floats
