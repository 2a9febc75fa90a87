"""Labels of photos of any size: equal to a simple pipeline, and in tiles to the complete photo."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from local_segmenter import LocalSegmenter, colorful
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf
from tag2mask.errors import DataError
from tag2mask.segmentation.inference import refinement
from tag2mask.segmentation.inference.labeling import SINGLE_VIEW, LabelingSettings, PhotoLabeler

WHOLE = replace(SINGLE_VIEW, tile=10_000, confidence="float32", probabilities=True)
TILES = replace(WHOLE, tile=64, overlap=16)


def photo_of(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(colorful(height, width, seed))


def simple_pipeline(photo: Image.Image, settings: LabelingSettings) -> np.ndarray:
    """Return probabilities (C+1, H, W) at the photo's size, computed with torch view by view."""
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
def test_complete_photo_equals_the_simple_pipeline(
    size: tuple[int, int], settings: LabelingSettings
) -> None:
    photo = photo_of(*size)
    found = PhotoLabeler(LocalSegmenter(), settings)(photo)
    expected = simple_pipeline(photo, settings)
    assert found.labels.shape == size
    chosen = np.take_along_axis(expected, found.labels[None].astype(np.intp), axis=0)[0]
    np.testing.assert_allclose(chosen, expected.max(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.confidence, expected.max(axis=0), atol=1e-4)
    assert found.probabilities is not None
    if found.probabilities.shape[1:] == size:
        np.testing.assert_allclose(found.probabilities, expected, atol=2e-3)
    else:
        assert max(found.probabilities.shape[1:]) == settings.long_side


@pytest.mark.parametrize("long_side", [None, 300])
def test_tiles_agree_with_the_complete_photo(long_side: int | None) -> None:
    """Except for a few pixels near the borders of tiles, which are blended."""
    photo = photo_of(170, 250)
    whole = PhotoLabeler(LocalSegmenter(), replace(WHOLE, long_side=long_side))(photo)
    tiles = PhotoLabeler(LocalSegmenter(), replace(TILES, long_side=long_side))(photo)
    assert whole.probabilities is not None and tiles.probabilities is not None
    difference = np.abs(whole.probabilities.astype(np.float32) - tiles.probabilities).max(axis=0)
    height, width = difference.shape
    assert difference.max() < 0.05
    far = np.ones(
        (height, width), bool
    )  # cells whose receptive field doesn't reach a tile's border
    for border in range(48, max(height, width), 48):
        for edge in (border, border + 16):
            far[max(edge - 3, 0) : edge + 3] = far[:, max(edge - 3, 0) : edge + 3] = False
    for end in ((-(-height // 8) * 8 - 64, 0), (-(-width // 8) * 8 - 64, 1)):
        np.moveaxis(far, end[1], 0)[end[0] - 3 : end[0] + 3] = False
    assert far.mean() > 0.3
    # Resizing a part of a photo differs from resizing the complete photo by up to 1 of 255.
    assert difference[far].max() < (1e-3 if long_side is None else 2e-2)
    assert (whole.labels != tiles.labels).mean() < 0.002


def test_tiles_with_scales_and_flips() -> None:
    settings = {"scales": (0.5, 1.0, 2.0), "flip": True}
    photo = photo_of(150, 190)
    whole = PhotoLabeler(LocalSegmenter(), replace(WHOLE, **settings))(photo)
    segmenter = LocalSegmenter()
    tiles = PhotoLabeler(segmenter, replace(TILES, tile=128, **settings))(photo)
    assert max(max(shape[2:]) for shape in segmenter.shapes) == 128
    assert (whole.labels != tiles.labels).mean() < 0.01


def test_labels_do_not_depend_on_the_number_of_threads() -> None:
    photo = photo_of(200, 300)
    one, four = (PhotoLabeler(LocalSegmenter(caller_threads=n), TILES)(photo) for n in (1, 4))
    np.testing.assert_array_equal(one.labels, four.labels)
    np.testing.assert_array_equal(one.confidence, four.confidence)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [WHOLE, TILES])
def test_labels_are_restricted_to_background_and_tags(settings: LabelingSettings) -> None:
    photo = photo_of(100, 130)
    unrestricted = PhotoLabeler(LocalSegmenter(), settings)(photo)
    restricted = PhotoLabeler(LocalSegmenter(), settings)(photo, tags=[2, 0])
    assert set(np.unique(unrestricted.labels)) == {0, 1, 2, 3}
    assert set(np.unique(restricted.labels)) == {0, 1, 3}
    kept = unrestricted.labels != 2
    np.testing.assert_array_equal(restricted.labels[kept], unrestricted.labels[kept])
    assert unrestricted.confidence is not None and restricted.confidence is not None
    assert (restricted.confidence >= unrestricted.confidence - 1e-6)[
        kept
    ].all()  # normalized over fewer classes
    assert (PhotoLabeler(LocalSegmenter(), settings)(photo, tags=[]).labels == 0).all()
    # The returned probabilities are those of the network.
    np.testing.assert_array_equal(restricted.probabilities, unrestricted.probabilities)  # type: ignore[arg-type]


def test_several_photos_per_call() -> None:
    labeler = PhotoLabeler(LocalSegmenter(batched=True), replace(WHOLE, long_side=64))
    photos = [photo_of(60, 90), photo_of(58, 90, 1), photo_of(120, 180, 2)]
    views = [labeler.views(photo, (photo.height, photo.width)) for photo in photos]
    assert len({view.padded for view in views}) == 1
    labeled = labeler.label(views, [None, [1], None])
    for photo, tags, found in zip(photos, (None, [1], None), labeled, strict=True):
        np.testing.assert_array_equal(labeler(photo, tags=tags).labels, found.labels)
    assert labeler.photos_at_once == 8
    half = PhotoLabeler(LocalSegmenter(batched=True), replace(WHOLE, flip=True, batch_size=9))
    assert half.photos_at_once == 4
    assert PhotoLabeler(LocalSegmenter(), WHOLE).photos_at_once == 1


def test_photo_decoded_smaller_is_labeled_at_its_size() -> None:
    labeler = PhotoLabeler(LocalSegmenter(), replace(WHOLE, long_side=64, scales=(1.0, 1.5)))
    assert labeler.decode_at((300, 800)) == 96
    whole = photo_of(300, 800)
    small = whole.resize((200, 75), Image.Resampling.BOX)
    found = labeler(small, (300, 800))
    assert found.labels.shape == (300, 800)
    assert (found.labels != labeler(whole).labels).mean() < 0.02


@pytest.mark.parametrize("settings", [WHOLE, TILES])
def test_crf_follows_the_contours_of_the_photo(settings: LabelingSettings) -> None:
    rng = np.random.default_rng(0)
    scene = np.full((80, 120, 3), (30, 40, 30), np.uint8)
    scene[20:60, 30:90] = (230, 60, 40)
    noisy = np.clip(scene + rng.normal(0, 60, scene.shape), 0, 255).astype(np.uint8)
    truth = (scene[..., 0] > 100).astype(np.uint8)
    without_crf = PhotoLabeler(LocalSegmenter(), settings)(Image.fromarray(noisy))
    crf = replace(PUBLISHED_CRF, iterations=5, bilateral_srgb=60.0)
    with_crf = PhotoLabeler(LocalSegmenter(), replace(settings, crf=crf))(Image.fromarray(noisy))
    assert (with_crf.labels != truth).mean() < 0.6 * (without_crf.labels != truth).mean()
    np.testing.assert_array_equal(with_crf.probabilities, without_crf.probabilities)  # type: ignore[arg-type]
    one_class = PhotoLabeler(LocalSegmenter(), replace(settings, crf=crf))(
        Image.new("RGB", (70, 50))
    )
    assert (one_class.labels == 0).all()
    assert (one_class.confidence == 1).all()  # type: ignore[attr-defined]


def test_the_published_crf_gets_all_classes() -> None:
    photo = photo_of(40, 60)
    settings = replace(WHOLE, crf=PUBLISHED_CRF)
    without = PhotoLabeler(LocalSegmenter(), replace(WHOLE, published=True))(photo)
    found = PhotoLabeler(LocalSegmenter(), replace(settings, published=True))(photo)
    assert without.probabilities is not None
    crf = DenseCrf(np.asarray(photo), PUBLISHED_CRF)
    expected = crf.refine(without.probabilities.astype(np.float32))
    np.testing.assert_allclose(found.confidence, expected.max(axis=0), atol=0.01)
    assert (found.labels == expected.argmax(axis=0)).mean() > 0.999
    # One color: a single class has the largest score, and the CRF still weighs the others.
    red = Image.new("RGB", (30, 20), (255, 0, 0))
    confidence = PhotoLabeler(LocalSegmenter(), replace(settings, published=True))(red).confidence
    assert confidence is not None and (confidence < 1).any()
    assert (PhotoLabeler(LocalSegmenter(), settings)(red).confidence == 1).all()


def test_crf_image_of_a_large_photo_is_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "CRF_PIXELS", 2000)
    labeler = PhotoLabeler(LocalSegmenter(), replace(WHOLE, long_side=32, crf=PUBLISHED_CRF))
    views = labeler.views(photo_of(100, 200), (100, 200))
    assert views.crf_image is not None and views.crf_image.shape == (32, 63, 3)
    assert labeler.decode_at((100, 200)) == 63
    assert labeler(photo_of(100, 200)).labels.shape == (100, 200)


def test_nan_raises() -> None:
    class Broken(LocalSegmenter):
        def probabilities(self, images: np.ndarray) -> np.ndarray:
            return super().probabilities(images) * np.float32(np.nan)

    for settings in (WHOLE, TILES, replace(WHOLE, crf=PUBLISHED_CRF)):
        with pytest.raises(DataError, match="aren't finite"):
            PhotoLabeler(Broken(), settings)(photo_of(80, 100))


def test_progress_of_tiles() -> None:
    calls: list[tuple[int, int]] = []
    PhotoLabeler(LocalSegmenter(), TILES)(
        photo_of(100, 100), progress=lambda *counts: calls.append(counts)
    )
    assert calls == [(i, 4) for i in range(1, 5)]


def test_memory_is_bounded_for_large_photos() -> None:
    """It grows by the labels, one byte per pixel, and by one strip along the width."""
    settings = replace(SINGLE_VIEW, tile=64, overlap=16, confidence="uint8")
    segmenter, peaks = LocalSegmenter(caller_threads=2), []
    PhotoLabeler(segmenter, settings)(photo_of(80, 80))  # compiles the loops
    for height, width in ((200, 300), (600, 900)):
        photo = photo_of(height, width)
        tracemalloc.start()
        PhotoLabeler(segmenter, settings)(photo)
        peaks.append(tracemalloc.get_traced_memory()[1] - 2 * height * width)
        tracemalloc.stop()
    floats = 4 * 4 * 600 * 900  # of the larger photo; the smaller one has a ninth
    assert peaks[1] - peaks[0] < 0.08 * floats
    assert peaks[1] < 0.2 * floats
