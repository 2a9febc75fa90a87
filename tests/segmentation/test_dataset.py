"""Label maps are resized, flipped and cropped with their photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tag2mask.classes import IGNORE
from tag2mask.data.index import Sample
from tag2mask.errors import DataError
from tag2mask.segmentation.dataset import (
    LabelMaps,
    SegmenterBatch,
    SegmenterDataset,
    pixels_by_class,
    segmenter_loader,
)
from tag2mask.training.augmentation import Augmentation
from tag2mask.training.dataset import TrainingDataset
from tag2mask.training.sampler import StepBatchSampler

MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
SIDE = 32
PLAIN = Augmentation(
    crop=SIDE, long_side=(40, 40), color_jitter=(0, 0, 0, 0), mean=MEAN, std=STD, scale=(0.5, 1.5)
)
SIZES = ((64, 64), (40, 64), (64, 30), (12, 9), (1, 1), (50, 50))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of large red (class 1), green (class 2) and black areas, masks that say so, and
    confidences as the photo's blue."""
    folder = tmp_path_factory.mktemp("labeled")
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        blocks = rng.integers(0, 3, (-(-height // 16), -(-width // 16)))
        mask = blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width].astype(np.uint8)
        photo = np.zeros((height, width, 3), np.uint8)
        for kind in (1, 2):
            photo[mask == kind, kind - 1] = 255
        photo[..., 2] = np.linspace(0, 255, width)[None]
        Image.fromarray(photo).save(folder / f"photo{index}.png")
        for name, values in (("masks", mask), ("confidence", photo[..., 2])):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(values).save(folder / name / f"{index}.png")
    return folder


def samples_of(folder: Path) -> list[Sample]:
    return [
        Sample(str(i), folder / f"photo{i}.png", (h, w), (0, 1), "0-0")
        for i, (w, h) in enumerate(SIZES)
    ]


def maps_of(folder: Path, *, confidences: bool = True) -> LabelMaps:
    masks, gray = (
        {str(i): folder / name / f"{i}.png" for i in range(len(SIZES))}
        for name in ("masks", "confidence")
    )
    return LabelMaps(masks, gray if confidences else None)


def photos_of(
    folder: Path, augmentation: Augmentation = PLAIN, seed: int = 0, *, confidences: bool = True
) -> SegmenterDataset:
    return SegmenterDataset(
        samples_of(folder), maps_of(folder, confidences=confidences), 2, augmentation, seed
    )


@settings(max_examples=60)
@given(epoch=st.integers(0, 50), index=st.integers(0, len(SIZES) - 1), seed=st.integers(0, 3))
def test_labels_match_the_photo_at_each_pixel(
    folder: Path, epoch: int, index: int, seed: int
) -> None:
    image, labels, confidence, name = photos_of(folder, seed=seed)[(epoch, index)]
    _, valid, _ = TrainingDataset(samples_of(folder), 2, PLAIN, seed).cropped((epoch, index))
    assert image.shape == (3, SIDE, SIDE) and name == str(index)
    assert labels.shape == confidence.shape == (SIDE, SIDE)
    assert labels.dtype == confidence.dtype == torch.uint8
    assert (labels[~valid] == IGNORE).all() and not confidence[~valid].any()
    assert set(labels[valid].tolist()) <= {0, 1, 2}
    # Interpolation blurs the edges between areas; inside them the color shows the label.
    for kind, channel in ((1, 0), (2, 1)):
        assert set(labels[(image[channel] > 0.98) & valid].tolist()) <= {kind}
    dark = (image[:2].amax(dim=0) < 0.02) & valid
    assert set(labels[dark].tolist()) <= {0}
    blue = image[2] * 255
    assert ((confidence - blue).abs()[valid] < 30).float().mean() > 0.9 or valid.sum() < 40


def test_scales_cover_their_range(folder: Path) -> None:
    photos = photos_of(folder).photos
    sizes = [max(photos.cropped((epoch, 5))[2].size) for epoch in range(300)]
    assert 20 <= min(sizes) < 23 and 57 < max(sizes) <= 60
    assert abs(np.mean(sizes) - 40) < 2


def test_photos_can_keep_their_own_size(folder: Path) -> None:
    own = Augmentation(crop=64, long_side=None, color_jitter=(0, 0, 0, 0), mean=MEAN, std=STD)
    _, labels, _, _ = photos_of(folder, own)[(0, 2)]
    mask = np.asarray(Image.open(folder / "masks" / "2.png"))
    inside = labels[:, (labels != IGNORE).any(dim=0)][(labels != IGNORE).any(dim=1)].numpy()
    assert np.array_equal(inside, mask) or np.array_equal(inside, mask[:, ::-1])
    twice = Augmentation(
        crop=256, long_side=None, color_jitter=(0, 0, 0, 0), mean=MEAN, std=STD, scale=(2.0, 2.0)
    )
    assert int((photos_of(folder, twice)[(0, 2)][1] != IGNORE).sum()) == 4 * mask.size


def test_crops_depend_only_on_seed_epoch_and_index(folder: Path) -> None:
    one, other = photos_of(folder, seed=4), photos_of(folder, seed=4)
    other[(7, 3)]
    for address in ((0, 0), (3, 1), (2, 3)):
        assert all(
            torch.equal(x, y) for x, y in zip(one[address][:3], other[address][:3], strict=True)
        )
    assert any(
        not torch.equal(one[(0, i)][1], photos_of(folder, seed=5)[(0, i)][1]) for i in range(3)
    )


def test_without_confidences_every_pixel_is_sure(folder: Path) -> None:
    _, _, confidence, _ = photos_of(folder, confidences=False)[(0, 0)]
    assert (confidence == 255).all()


def batches_of(folder: Path, workers: int, start: int = 0) -> list[SegmenterBatch]:
    order = StepBatchSampler(len(SIZES), 3, start=start, stop=3, seed=1)
    return list(segmenter_loader(photos_of(folder), order, workers=workers))


def test_batches_do_not_depend_on_the_number_of_workers(folder: Path) -> None:
    alone, others = batches_of(folder, 0)[1:], batches_of(folder, 1, 1)
    assert len(alone) == len(others) == 2
    for one, two in zip(alone, others, strict=True):
        assert one.ids == two.ids and one.labels.shape == (3, SIDE, SIDE)
        assert all(
            torch.equal(getattr(one, name), getattr(two, name))
            for name in ("image", "labels", "confidence")
        )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("masks", lambda path: path.unlink(), "mask is missing"),
        ("masks", lambda path: path.write_bytes(b"no PNG"), "mask can't be read"),
        ("masks", lambda path: Image.new("L", (50, 50), 3).save(path), "mask has the values 3"),
        ("masks", lambda path: Image.new("L", (50, 49), 1).save(path), "mask is 50 x 49 px"),
        ("confidence", lambda path: path.unlink(), "confidence is missing"),
        ("confidence", lambda path: path.write_bytes(b"no PNG"), "confidence can't be read"),
        ("confidence", lambda path: Image.new("RGB", (50, 50)).save(path), "mode RGB"),
        (
            "confidence",
            lambda path: Image.new("L", (50, 49)).save(path),
            "confidences of 50 x 49 px",
        ),
    ],
)
def test_unreadable_labels_are_listed_in_their_batch(
    folder: Path, tmp_path: Path, name: str, change, message: str
) -> None:
    for kind in ("masks", "confidence"):
        (tmp_path / kind).mkdir()
        for path in (folder / kind).iterdir():
            (tmp_path / kind / path.name).write_bytes(path.read_bytes())
    change(tmp_path / name / "5.png")
    photos = SegmenterDataset(samples_of(folder), maps_of(tmp_path), 2, PLAIN, 0)
    order = StepBatchSampler(len(SIZES), len(SIZES), start=0, stop=1, seed=0)
    (batch,) = segmenter_loader(photos, order, workers=0)
    assert sorted(batch.ids) == list("01234") and len(batch.labels) == 5
    (skipped,) = batch.skipped
    assert skipped.id == "5" and isinstance(skipped.error, DataError)
    assert message in str(skipped.error) and "5.png" in str(skipped.error)
    if name == "masks":
        with pytest.raises(DataError, match=message):
            pixels_by_class(samples_of(folder), maps_of(tmp_path), 2, skip_bad=False)
        rest = pixels_by_class(samples_of(folder)[:5], maps_of(tmp_path), 2, skip_bad=False)
        assert (
            pixels_by_class(samples_of(folder), maps_of(tmp_path), 2, skip_bad=True) == rest
        ).all()


def test_batch_without_readable_photos(folder: Path, tmp_path: Path) -> None:
    photos = SegmenterDataset(samples_of(folder)[:1], maps_of(tmp_path), 2, PLAIN, 0)
    (batch,) = segmenter_loader(photos, StepBatchSampler(1, 1, start=0, stop=1, seed=0), workers=0)
    assert len(batch.image) == len(batch.labels) == len(batch.ids) == 0 and len(batch.skipped) == 1


def test_pixels_are_counted_by_class(folder: Path, tmp_path: Path) -> None:
    masks = [np.asarray(Image.open(folder / "masks" / f"{i}.png")) for i in range(len(SIZES))]
    expected = [sum(int((mask == label).sum()) for mask in masks) for label in range(3)]
    found = pixels_by_class(samples_of(folder), maps_of(folder), 2, skip_bad=False)
    assert found.tolist() == expected
    Image.fromarray(np.full((1, 1), IGNORE, np.uint8)).save(tmp_path / "4.png")
    only = LabelMaps({"4": tmp_path / "4.png"})
    assert not pixels_by_class(samples_of(folder)[4:5], only, 2, skip_bad=False).any()
