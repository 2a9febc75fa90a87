"""The images that a network gets, and the mean of its outputs over views."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from local_segmenter import LocalSegmenter, colorful
from tag2mask.segmentation.inference.segmenter import AveragedViews, GridBox, Segmenter, pixels

pytestmark = pytest.mark.smoke


class Recording(LocalSegmenter):
    """Keeps its last input."""

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        (self.image,) = images.copy()
        return super().probabilities(images)


def mean_of_one_view(segmenter: Segmenter, view: np.ndarray) -> np.ndarray:
    return AveragedViews(segmenter, 1, flip=False, published=False).mean(
        [[view]], [view.shape[:2]]
    )[0]


def test_images_are_normalized_and_padded_with_the_mean_color() -> None:
    segmenter, view = Recording(), colorful(13, 20)
    found = mean_of_one_view(segmenter, view)
    image = segmenter.image
    assert image.shape == (3, 16, 24)
    expected = (view / 255 - segmenter.mean) / segmenter.std
    np.testing.assert_allclose(image[:, :13, :20], expected.transpose(2, 0, 1), atol=1e-5)
    assert not image[:, 13:].any() and not image[:, :, 20:].any()
    assert found.shape == (4, 13, 20)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)


def test_flipped_views_are_flipped_back() -> None:
    view = colorful(16, 24)
    views = AveragedViews(LocalSegmenter(), 1, flip=True, published=False)
    plain = mean_of_one_view(LocalSegmenter(), view)
    mirrored = mean_of_one_view(LocalSegmenter(), view[:, ::-1].copy())[:, :, ::-1]
    (found,) = views.mean([[view]], [(16, 24)])
    np.testing.assert_allclose(found, (plain + mirrored) / 2, atol=1e-6)
    # This network is symmetric, so the mean equals a single view.
    np.testing.assert_allclose(found, plain, atol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
def test_result_does_not_depend_on_the_batch(flip: bool) -> None:
    """Views of different sizes that have the same size with padding."""
    photos = [[colorful(13, 20, i), colorful(27, 33, i)] for i in range(3)]
    photos[1] = [colorful(15, 17, 9), colorful(31, 36, 9)]
    grids = [(13, 20), (15, 17), (9, 9)]
    for batched in (False, True):
        segmenter = LocalSegmenter(batched=batched)
        views = AveragedViews(segmenter, 2, flip=flip, published=False)
        means = views.mean(photos, grids)
        assert {shape[0] for shape in segmenter.shapes} == ({3 + 3 * flip} if batched else {1})
        for photo, grid, found in zip(photos, grids, means, strict=True):
            assert found.shape == (4, *grid)
            np.testing.assert_array_equal(views.mean([photo], [grid])[0], found)


def test_part_of_the_grid_equals_that_part_of_the_resized_photo() -> None:
    photo = Image.fromarray(colorful(90, 120))
    whole = pixels(photo, (60, 80))
    part = GridBox(10, 24, 42, 56)
    found = pixels(photo, part.size, part, (60, 80))
    assert found.shape == (32, 32, 3)
    difference = np.abs(found.astype(int) - whole[10:42, 24:56])
    assert difference.max() <= 1
    end = GridBox(17, 31, 333, 500)  # 500 / 333 * 333 is not 500 in floats
    assert pixels(Image.new("RGB", (500, 333)), end.size, end, (333, 500)).shape == (316, 469, 3)
