"""Labels are cropped with their photo, and reduced to cells by majority."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageEnhance

from tag2mask.affinity.dataset import (
    AffinityBatch,
    AffinityDataset,
    collate_affinity,
    reduce_labels,
)
from tag2mask.affinity.marginals import marginals_path, write_marginals
from tag2mask.classes import IGNORE
from tag2mask.data.index import Sample
from tag2mask.errors import DataError, RecipeError
from tag2mask.training.augmentation import Augmentation, CropWindow
from tag2mask.training.dataset import TrainingDataset, step_loader
from tag2mask.training.sampler import StepBatchSampler

MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
PLAIN = Augmentation(
    crop=32,
    long_side=(24, 60),
    color_jitter=(0, 0, 0, 0),
    mean=MEAN,
    std=STD,
    scale=None,
    jitter_photo=False,
    black_padding=False,
)
SIZES = ((64, 64), (40, 64), (64, 30), (12, 9), (1, 1), (50, 50))
CELL = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of large red (class 1), green (class 2) and black areas, labels that say so; some
    columns are unsure."""
    folder = tmp_path_factory.mktemp("labeled")
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        blocks = rng.integers(0, 3, (-(-height // 16), -(-width // 16)))
        labels = blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width].astype(np.uint8)
        photo = np.zeros((height, width, 3), np.uint8)
        for kind in (1, 2):
            photo[labels == kind, kind - 1] = 255
        if width > 40:
            labels[:, 20:36] = IGNORE
        Image.fromarray(photo).save(folder / f"photo{index}.png")
        (folder / "labels").mkdir(exist_ok=True)
        Image.fromarray(labels).save(folder / "labels" / f"{index}.png")
    return folder


def samples_of(folder: Path) -> list[Sample]:
    return [
        Sample(str(i), folder / f"photo{i}.png", (h, w), (0, 1), "0-0")
        for i, (w, h) in enumerate(SIZES)
    ]


def photos_of(folder: Path, augmentation: Augmentation = PLAIN, seed: int = 0) -> AffinityDataset:
    return AffinityDataset(
        samples_of(folder), folder, 2, augmentation, seed, stride=CELL, published=False
    )


@settings(max_examples=60, deadline=None)
@given(epoch=st.integers(0, 50), index=st.integers(0, len(SIZES) - 1), seed=st.integers(0, 3))
def test_labels_are_aligned_with_the_photo(folder: Path, epoch: int, index: int, seed: int) -> None:
    image, labels, valid, name = photos_of(folder, seed=seed)[(epoch, index)]
    assert image.shape == (3, 32, 32) and valid.shape == (32, 32) and name == str(index)
    assert labels.shape == (8, 8) and labels.dtype == torch.uint8
    cells = image.unflatten(1, (8, CELL)).unflatten(3, (8, CELL)).mean(dim=(2, 4))
    covered = valid.unflatten(0, (8, CELL)).unflatten(2, (8, CELL)).float().mean(dim=(1, 3))
    assert (labels[covered < 0.5] == IGNORE).all(), "padding is unsure"
    # Interpolation blurs the edges between areas; inside them the color determines the label.
    for kind, channel in ((1, 0), (2, 1)):
        pure = (cells[channel] > 0.95) & (covered == 1)
        assert set(labels[pure].tolist()) <= {kind, IGNORE}
    dark = (cells.amax(dim=0) < 0.05) & (covered == 1)
    assert set(labels[dark].tolist()) <= {0, IGNORE}


@pytest.mark.parametrize("index", [0, 1, 5])
def test_a_resized_label_map_has_no_labels_between_others(folder: Path, index: int) -> None:
    """Every pixel has the label of the one under its center: 0 next to 2 doesn't give 1."""
    label_map = Image.open(folder / "labels" / f"{index}.png")
    photos = photos_of(folder)
    for epoch in range(10):
        _, labels, _, _ = photos[(epoch, index)]
        *_, crop = photos.photos.cropped((epoch, index))
        resized = np.asarray(label_map.resize(crop.size, Image.Resampling.NEAREST))
        left, top, right, bottom = crop.box
        expected = np.full((32, 32), IGNORE, np.uint8)
        part = (resized[:, ::-1] if crop.flip else resized)[top:bottom, left:right]
        expected[crop.rows, crop.columns] = part
        assert np.array_equal(labels, reduce_labels(expected, CELL))


def test_the_crops_are_those_of_cam_training(folder: Path) -> None:
    other = TrainingDataset(samples_of(folder), 2, PLAIN, seed=4)
    ours = photos_of(folder, seed=4)
    for address in ((0, 0), (3, 1), (2, 3)):
        image, _, valid, _ = ours[address]
        assert torch.equal(image, other[address][0]) and torch.equal(valid, other[address][2])


def test_photos_can_keep_their_own_size(folder: Path) -> None:
    augmentation = replace(PLAIN, crop=64, long_side=None)
    image, labels, valid, _ = photos_of(folder, augmentation)[(0, 2)]
    assert int(valid.sum()) == 64 * 30
    photo = np.asarray(Image.open(folder / "photo2.png"), np.float32).transpose(2, 0, 1) / 255
    inside = image[:, valid.any(dim=1)][:, :, valid.any(dim=0)].numpy()
    assert np.array_equal(inside, photo) or np.array_equal(inside, photo[:, :, ::-1])
    assert labels.shape == (16, 16)


def as_published(
    photo: np.ndarray, marginals: np.ndarray, crop: CropWindow
) -> tuple[np.ndarray, np.ndarray]:
    """Transcribe ``VOC12AffDataset`` of the authors' code, but for what is drawn.

    Its joint transforms are RandomCrop and then RandomHorizontalFlip: here the flip is first, and
    the crop at the mirrored position.
    """
    img_label = np.concatenate([photo, *marginals.transpose(0, 2, 3, 1)], axis=-1)
    if crop.flip:
        img_label = np.fliplr(img_label)
    left, top, right, bottom = crop.box
    container = np.zeros((crop.side, crop.side, img_label.shape[-1]), np.float32)
    container[crop.rows, crop.columns] = img_label[top:bottom, left:right]
    img = (container[..., :3] / 255.0 - PUBLISHED.mean) / PUBLISHED.std
    label = np.zeros((crop.side // CELL, crop.side // CELL, container.shape[-1] - 3))
    for y, x in np.ndindex(label.shape[:2]):
        block = container[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL, 3:]
        label[y, x] = block.mean(axis=(0, 1))
    no_score_region = np.max(label, -1) < 1e-5
    label_la, label_ha = np.array_split(label, 2, axis=-1)
    label_la, label_ha = label_la.argmax(-1).astype(np.uint8), label_ha.argmax(-1).astype(np.uint8)
    label = label_la.copy()
    label[label_la == 0] = 255
    label[label_ha == 0] = 0
    label[no_score_region] = 255
    return img.transpose(2, 0, 1), label


PUBLISHED = Augmentation(
    crop=32,
    long_side=None,
    color_jitter=(0.3, 0.3, 0.3, 0.1),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    scale=None,
    jitter_photo=True,
    black_padding=True,
)


@pytest.mark.parametrize("index", range(len(SIZES)))
def test_published_batches_are_the_authors(folder: Path, tmp_path: Path, index: int) -> None:
    """Crops of the photo at its size, contrast of the complete photo, black padding, and the
    argmax of the marginals' means."""
    sample = samples_of(folder)[index]
    rng = np.random.default_rng(index)
    scores = np.kron(rng.random((2, 3, 32, 32)), np.ones((3, 3)))[..., : sample.size[0], :]
    scores = scores[..., : sample.size[1]] ** 4 + 0.2 * rng.random((2, 3, *sample.size))
    marginals = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    write_marginals(marginals_path(tmp_path, sample.id), *marginals, tags=(0, 1))
    photos = AffinityDataset(
        samples_of(folder), tmp_path, 2, PUBLISHED, 0, stride=CELL, published=True
    )

    def contrast(photo: Image.Image) -> Image.Image:
        return ImageEnhance.Contrast(photo).enhance(0.6)

    photos.photos.draw_jitter = lambda seed: contrast  # type: ignore[method-assign]
    jittered = np.asarray(contrast(Image.open(sample.image)))
    found = set()
    for epoch in range(6):
        image, labels, _, _ = photos[(epoch, index)]
        *_, crop = photos.photos.cropped((epoch, index))
        wanted, wanted_labels = as_published(jittered, marginals, crop)
        np.testing.assert_allclose(image.numpy(), wanted, atol=1e-5)
        assert np.array_equal(labels.numpy(), wanted_labels)
        found |= set(wanted_labels.ravel().tolist())
    assert found == {0, 1, 2, 255} or min(sample.size) < 16


LABELS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    elements=st.sampled_from([0, 1, 2, 7, IGNORE]),
)


@given(LABELS, st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_each_cell_takes_most_votes(labels: np.ndarray, stride: int) -> None:
    reduced = reduce_labels(labels, stride)
    assert reduced.shape == tuple(-(-side // stride) for side in labels.shape)
    for y, x in np.ndindex(reduced.shape):
        cell = labels[y * stride : (y + 1) * stride, x * stride : (x + 1) * stride]
        votes = np.bincount(cell.ravel(), minlength=256)
        votes[IGNORE] += stride * stride - cell.size
        assert reduced[y, x] == votes.argmax()


def batches_of(folder: Path, workers: int, start: int = 0) -> list[AffinityBatch]:
    order = StepBatchSampler(len(SIZES), 3, start=start, stop=3, seed=1)
    return list(step_loader(photos_of(folder), order, collate_affinity, workers=workers))


@pytest.mark.parametrize(("workers", "start"), [(2, 0), (0, 2)])
def test_batches_do_not_depend_on_workers_or_start(folder: Path, workers: int, start: int) -> None:
    alone, other = batches_of(folder, 0)[start:], batches_of(folder, workers, start)
    assert len(alone) == len(other) == 3 - start
    for one, two in zip(alone, other, strict=True):
        assert one.ids == two.ids and one.labels.shape == (3, 8, 8)
        assert all(
            torch.equal(getattr(one, name), getattr(two, name))
            for name in ("image", "labels", "valid")
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b"no PNG"), "not a mask, despite its name"),
        (lambda path: Image.new("L", (50, 50), 3).save(path), "has the values 3"),
        (lambda path: Image.new("L", (50, 49), 1).save(path), "50x49 px for a photo of 50x50 px"),
    ],
)
def test_bad_labels_are_named_in_their_batch(folder: Path, tmp_path: Path, change, message) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    for path in (folder / "labels").iterdir():
        (labels / path.name).write_bytes(path.read_bytes())
    change(labels / "5.png")
    photos = AffinityDataset(
        samples_of(folder), tmp_path, 2, PLAIN, 0, stride=CELL, published=False
    )
    order = StepBatchSampler(len(SIZES), len(SIZES), start=0, stop=1, seed=0)
    (batch,) = step_loader(photos, order, collate_affinity, workers=0)
    assert sorted(batch.ids) == list("01234") and len(batch.labels) == 5
    (skipped,) = batch.skipped
    assert skipped.id == "5" and isinstance(skipped.error, DataError)
    assert message in str(skipped.error) and "5.png" in str(skipped.error)


def test_a_batch_without_readable_photos(folder: Path, tmp_path: Path) -> None:
    photos = AffinityDataset(
        samples_of(folder)[:1], tmp_path, 2, PLAIN, 0, stride=CELL, published=False
    )
    (batch,) = step_loader(
        photos, StepBatchSampler(1, 1, start=0, stop=1, seed=0), collate_affinity, workers=0
    )
    assert len(batch.image) == len(batch.labels) == len(batch.ids) == 0 and len(batch.skipped) == 1


def test_too_small_batches_name_their_setting() -> None:
    with pytest.raises(RecipeError, match=r"train_affinity\.batch_size"):
        StepBatchSampler(
            5, 1, start=0, stop=1, seed=0, world_size=2, setting="train_affinity.batch_size"
        )
