"""Label maps follow their photo through the augmentation, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
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
    SegmenterBatch,
    SegmenterDataset,
    collate_segmenter,
)
from tag2mask.training.augmentation import Augmentation
from tag2mask.training.dataset import TrainingDataset, step_loader
from tag2mask.training.sampler import StepBatchSampler

MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
SIDE = 32
PLAIN = Augmentation(
    crop=SIDE,
    long_side=(40, 40),
    color_jitter=(0, 0, 0, 0),
    mean=MEAN,
    std=STD,
    scale=(0.5, 1.5),
    jitter_photo=False,
    black_padding=False,
)
SIZES = ((64, 64), (40, 64), (64, 30), (12, 9), (1, 1), (50, 50))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of large red (class 1), green (class 2) and black areas, and their masks."""
    folder = tmp_path_factory.mktemp("labeled")
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        blocks = rng.integers(0, 3, (-(-height // 16), -(-width // 16)))
        mask = blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width].astype(np.uint8)
        photo = np.zeros((height, width, 3), np.uint8)
        for kind in (1, 2):
            photo[mask == kind, kind - 1] = 255
        Image.fromarray(photo).save(folder / f"photo{index}.png")
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
    return folder


def samples_of(folder: Path) -> list[Sample]:
    return [
        Sample(str(i), folder / f"photo{i}.png", (h, w), (0, 1), "0-0")
        for i, (w, h) in enumerate(SIZES)
    ]


def maps_of(folder: Path) -> dict[str, Path]:
    return {str(i): folder / "masks" / f"{i}.png" for i in range(len(SIZES))}


def photos_of(folder: Path, augmentation: Augmentation = PLAIN, seed: int = 0) -> SegmenterDataset:
    return SegmenterDataset(samples_of(folder), maps_of(folder), 2, augmentation, seed)


@settings(max_examples=60)
@given(epoch=st.integers(0, 50), index=st.integers(0, len(SIZES) - 1), seed=st.integers(0, 3))
def test_labels_lie_on_what_they_name(folder: Path, epoch: int, index: int, seed: int) -> None:
    image, labels, tags, tags_apply, name = photos_of(folder, seed=seed)[(epoch, index)]
    _, valid, crop = TrainingDataset(samples_of(folder), 2, PLAIN, seed).cropped((epoch, index))
    assert image.shape == (3, SIDE, SIDE) and name == str(index)
    assert labels.shape == (SIDE, SIDE) and labels.dtype == torch.uint8
    assert (labels[~valid] == IGNORE).all() and tags.tolist() == [1.0, 1.0]
    assert torch.equal(tags_apply, valid)
    assert set(labels[valid].tolist()) <= {0, 1, 2}
    # Interpolation blurs the edges between areas; inside them the color shows the label.
    for kind, channel in ((1, 0), (2, 1)):
        assert set(labels[(image[channel] > 0.98) & valid].tolist()) <= {kind}
    dark = (image[:2].amax(dim=0) < 0.02) & valid
    assert set(labels[dark].tolist()) <= {0}
    # At the edges, too, a pixel has the label of the mask's pixel under its center.
    with Image.open(maps_of(folder)[name]) as mask:
        resized = np.asarray(mask.resize(crop.size, Image.Resampling.NEAREST))
    left, top, right, bottom = crop.box
    part = (resized[:, ::-1] if crop.flip else resized)[top:bottom, left:right]
    assert np.array_equal(labels[crop.rows, crop.columns], part)


def test_scales_cover_their_range(folder: Path) -> None:
    photos = photos_of(folder).photos
    sizes = [max(photos.cropped((epoch, 5))[2].size) for epoch in range(300)]
    assert 20 <= min(sizes) < 23 and 57 < max(sizes) <= 60
    assert abs(np.mean(sizes) - 40) < 2


def test_photos_can_keep_their_own_size(folder: Path) -> None:
    own = replace(PLAIN, crop=64, long_side=None, scale=None)
    labels = photos_of(folder, own)[(0, 2)][1]
    mask = np.asarray(Image.open(folder / "masks" / "2.png"))
    inside = labels[:, (labels != IGNORE).any(dim=0)][(labels != IGNORE).any(dim=1)].numpy()
    assert np.array_equal(inside, mask) or np.array_equal(inside, mask[:, ::-1])
    twice = replace(PLAIN, crop=256, long_side=None, scale=(2.0, 2.0))
    assert int((photos_of(folder, twice)[(0, 2)][1] != IGNORE).sum()) == 4 * mask.size


def test_crops_depend_only_on_seed_epoch_and_index(folder: Path) -> None:
    one, other = photos_of(folder, seed=4), photos_of(folder, seed=4)
    other[(7, 3)]
    for address in ((0, 0), (3, 1), (2, 3)):
        assert all(
            torch.equal(x, y) for x, y in zip(one[address][:4], other[address][:4], strict=True)
        )
    assert any(
        not torch.equal(one[(0, i)][1], photos_of(folder, seed=5)[(0, i)][1]) for i in range(3)
    )


@pytest.mark.parametrize(
    ("tags", "classes", "applies"),
    [
        ((0, 1), (0, 1, 2), True),
        ((0,), (0, 1, IGNORE), True),
        ((), (0, IGNORE), True),
        ((0,), (0, 1, 2), False),
        ((), (1,), False),
    ],
)
def test_tags_apply_unless_the_mask_shows_another_class(
    tmp_path: Path, tags: tuple[int, ...], classes: tuple[int, ...], applies: bool
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    mask = np.resize(np.array(classes, np.uint8), (40, 40))
    Image.fromarray(mask).save(tmp_path / "mask.png")
    sample = Sample("a", tmp_path / "photo.png", (40, 40), tags, "0-0")
    photos = SegmenterDataset([sample], {"a": tmp_path / "mask.png"}, 2, PLAIN, 0)
    _, _, found, tags_apply, _ = photos[(0, 0)]
    assert found.tolist() == [float(tag in tags) for tag in (0, 1)]
    inside = photos.photos.cropped((0, 0))[1]
    assert torch.equal(tags_apply, inside if applies else torch.zeros_like(inside)) and inside.any()


def batches_of(folder: Path, workers: int, start: int = 0) -> list[SegmenterBatch]:
    order = StepBatchSampler(len(SIZES), 3, start=start, stop=3, seed=1)
    return list(step_loader(photos_of(folder), order, collate_segmenter, workers=workers))


def test_batches_do_not_depend_on_the_number_of_workers(folder: Path) -> None:
    alone, others = batches_of(folder, 0)[1:], batches_of(folder, 1, 1)
    assert len(alone) == len(others) == 2
    for one, two in zip(alone, others, strict=True):
        assert one.ids == two.ids and one.labels.shape == (3, SIDE, SIDE)
        assert all(
            torch.equal(getattr(one, name), getattr(two, name))
            for name in ("image", "labels", "tags", "tags_apply")
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "mask is missing"),
        (lambda path: path.write_bytes(b"no PNG"), "not a mask, despite its name"),
        (lambda path: Image.new("L", (50, 50), 3).save(path), "mask has the values 3"),
        (lambda path: Image.new("L", (50, 49), 1).save(path), "mask is 50 x 49 px"),
    ],
)
def test_bad_labels_are_named_in_their_batch(
    folder: Path, tmp_path: Path, change, message: str
) -> None:
    (tmp_path / "masks").mkdir()
    for path in (folder / "masks").iterdir():
        (tmp_path / "masks" / path.name).write_bytes(path.read_bytes())
    change(tmp_path / "masks" / "5.png")
    photos = SegmenterDataset(samples_of(folder), maps_of(tmp_path), 2, PLAIN, 0)
    order = StepBatchSampler(len(SIZES), len(SIZES), start=0, stop=1, seed=0)
    (batch,) = step_loader(photos, order, collate_segmenter, workers=0)
    assert sorted(batch.ids) == list("01234") and len(batch.labels) == 5
    (skipped,) = batch.skipped
    assert skipped.id == "5" and isinstance(skipped.error, DataError)
    assert message in str(skipped.error) and "5.png" in str(skipped.error)


def test_batch_without_readable_photos(folder: Path, tmp_path: Path) -> None:
    photos = SegmenterDataset(samples_of(folder)[:1], maps_of(tmp_path), 2, PLAIN, 0)
    (batch,) = step_loader(
        photos, StepBatchSampler(1, 1, start=0, stop=1, seed=0), collate_segmenter, workers=0
    )
    assert len(batch.image) == len(batch.labels) == len(batch.ids) == 0 and len(batch.skipped) == 1
    assert len(batch.tags) == len(batch.tags_apply) == 0
