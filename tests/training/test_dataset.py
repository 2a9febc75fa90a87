"""Training batches: order, augmentation, padding, unreadable photos, and no access to masks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tag2mask.data.images import read_image
from tag2mask.data.index import Sample
from tag2mask.errors import DataError, RecipeError
from tag2mask.training.augmentation import Augmentation, CropWindow
from tag2mask.training.dataset import TaggedBatch, TrainingDataset, collate_tagged, step_loader
from tag2mask.training.sampler import StepBatchSampler, epochs_to_steps, steps_per_epoch

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
PLAIN = Augmentation(
    crop=32,
    long_side=(20, 48),
    color_jitter=(0, 0, 0, 0),
    mean=MEAN,
    std=STD,
    scale=None,
    jitter_photo=False,
    black_padding=False,
)
JITTER = replace(PLAIN, color_jitter=(0.3, 0.3, 0.3, 0.1))
SIZES = ((40, 30), (30, 40), (64, 64), (5, 40), (1, 1), (33, 20), (50, 50))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    found = []
    for index, (width, height) in enumerate(SIZES):
        path = folder / f"{index}.png"
        Image.fromarray(rng.integers(1, 255, (height, width, 3), dtype=np.uint8)).save(path)
        tags = ((), (0,), (1, 2))[index % 3]
        found.append(Sample(str(index), path, (height, width), tags, "0-0"))
    return found


def photos_of(
    samples: list[Sample], augmentation: Augmentation = JITTER, seed: int = 0
) -> TrainingDataset:
    return TrainingDataset(samples, 3, augmentation, seed)


def same(one: TaggedBatch, other: TaggedBatch) -> bool:
    return one.ids == other.ids and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("image", "tags", "valid")
    )


def batches_of(samples: list[Sample], workers: int, **settings: int) -> Iterable[TaggedBatch]:
    chosen = {"start": 0, "stop": 5, "seed": 3} | settings
    order = StepBatchSampler(len(samples), 3, **chosen)
    return step_loader(photos_of(samples), order, collate_tagged, workers=workers)


def test_the_tensors_of_a_batch_are_pinned(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())  # needs a GPU
    batch = next(iter(batches_of(samples, workers=0)))
    pinned = batch.pin_memory()
    assert same(batch, pinned) and pinned.skipped == batch.skipped
    for name in ("image", "tags", "valid"):
        assert getattr(pinned, name) is not getattr(batch, name)


def test_batches_do_not_depend_on_the_number_of_workers(samples: list[Sample]) -> None:
    alone = list(batches_of(samples, 0))
    shared = list(batches_of(samples, 2))
    assert len(alone) == len(shared) == 5
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))


def test_resumed_training_gets_the_same_batches(samples: list[Sample]) -> None:
    straight = list(batches_of(samples, 0))
    torch.rand(17)  # the global random state must not matter
    resumed = list(batches_of(samples, 0, start=3))
    assert all(same(one, other) for one, other in zip(straight[3:], resumed, strict=True))


def test_items_do_not_change_the_global_random_state(samples: list[Sample]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    photos_of(samples)[(0, 0)]
    assert torch.equal(torch.get_rng_state(), before)


def test_items_are_the_same_in_many_threads(samples: list[Sample]) -> None:
    photos = photos_of(samples)
    addresses = [(epoch, index) for epoch in range(6) for index in range(len(samples))]
    alone = [photos[address][0] for address in addresses]
    with ThreadPoolExecutor(8) as pool:
        together = [item[0] for item in pool.map(photos.__getitem__, addresses)]
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_colors_are_jittered_as_by_torchvision(samples: list[Sample]) -> None:
    photos = photos_of(samples, replace(JITTER, mean=(0.0,) * 3, std=(1.0,) * 3, jitter_photo=True))
    image, valid, crop = photos.cropped((2, 1))
    torch.manual_seed(int(np.random.default_rng((0, 2, 1)).integers(2**62)))
    resized = read_image(samples[1].image).resize(crop.size, Image.Resampling.BICUBIC)
    wanted = crop.cut(photos.jitter(resized), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.asarray(wanted, np.float32) / 255).permute(2, 0, 1)
    assert valid.any() and torch.equal(image[:, crop.rows, crop.columns], expected)


def test_augmentation_differs_between_epochs_photos_and_seeds(samples: list[Sample]) -> None:
    photos = photos_of(samples)
    image = photos[(0, 2)][0]
    assert not torch.equal(image, photos[(1, 2)][0])
    assert not torch.equal(image, photos[(0, 6)][0])
    assert not torch.equal(image, photos_of(samples, seed=1)[(0, 2)][0])
    assert torch.equal(image, photos_of(samples)[(0, 2)][0])


@settings(max_examples=25, deadline=None)
@given(epoch=st.integers(0, 50), index=st.integers(0, len(SIZES) - 1))
def test_padding_is_invalid_and_0(samples: list[Sample], epoch: int, index: int) -> None:
    image, tags, valid, name = photos_of(samples)[(epoch, index)]
    assert image.shape == (3, 32, 32) and image.dtype == torch.float32
    assert valid.shape == (32, 32) and valid.dtype == torch.bool
    assert not image.masked_select(~valid).any()
    rows, columns = valid.any(dim=1), valid.any(dim=0)
    assert torch.equal(valid, rows[:, None] & columns[None, :]), "the valid part is one rectangle"
    width, height = SIZES[index]
    ratio = int(columns.sum()) / int(rows.sum())
    if max(rows.sum(), columns.sum()) < 32:  # the photo is complete
        assert ratio == pytest.approx(width / height, rel=0.2) or min(width, height) < 10
    assert name == str(index)
    assert tuple(tags.nonzero().flatten().tolist()) == ((), (0,), (1, 2))[index % 3]


def test_values_are_normalized(tmp_path: Path) -> None:
    path = tmp_path / "gray.png"
    Image.new("RGB", (40, 40), (51, 102, 204)).save(path)
    photos = photos_of([Sample("gray", path, (40, 40), (), "0-0")], PLAIN)
    image, _, valid, _ = photos[(0, 0)]
    expected = [(v / 255 - m) / s for v, m, s in zip((51, 102, 204), MEAN, STD, strict=True)]
    for channel, value in enumerate(expected):
        inside = image[channel][valid]
        torch.testing.assert_close(inside, torch.full_like(inside, value))


def test_both_ends_of_every_range_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "square.png"
    Image.new("RGB", (40, 40)).save(path)

    def crops(low: int, high: int) -> list[CropWindow]:
        sizes = Augmentation(32, (low, high), (0, 0, 0, 0), MEAN, STD, None, False, False)
        photos = photos_of([Sample("square", path, (40, 40), (), "0-0")], sizes)
        return [photos.cropped((epoch, 0))[2] for epoch in range(60)]

    assert {crop.size for crop in crops(20, 23)} == {(side, side) for side in range(20, 24)}
    larger, smaller = crops(34, 34), crops(30, 30)
    for axis in (0, 1):
        assert {crop.box[axis] for crop in larger} == {0, 1, 2}
    assert {crop.columns.start for crop in smaller} == {0, 1, 2}
    assert {crop.rows.start for crop in smaller} == {0, 1, 2}


def test_half_of_the_photos_are_flipped(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], 32, axis=0)
    path = tmp_path / "ramp.png"
    Image.fromarray(np.repeat(ramp, 3, axis=2)).save(path)
    sizes = Augmentation(32, (32, 32), (0, 0, 0, 0), MEAN, STD, None, False, False)
    photos = photos_of([Sample("ramp", path, (32, 32), (), "0-0")], sizes)
    flipped = [bool(photos[(epoch, 0)][0][0, 0, 0] > 0) for epoch in range(40)]
    assert 10 < sum(flipped) < 30


@settings(max_examples=25, deadline=None)
@given(
    photos=st.integers(4, 40),
    batch=st.integers(3, 9),
    world=st.integers(1, 3),
    start=st.integers(0, 7),
    seed=st.integers(0, 9),
)
def test_order(photos: int, batch: int, world: int, start: int, seed: int) -> None:
    stop = 3 * steps_per_epoch(photos, batch)
    whole = list(StepBatchSampler(photos, batch, start=0, stop=stop, seed=seed))
    assert len(whole) == stop
    start = min(start, stop)
    assert list(StepBatchSampler(photos, batch, start=start, stop=stop, seed=seed)) == whole[start:]
    ranks = [
        list(
            StepBatchSampler(photos, batch, start=0, stop=stop, seed=seed, rank=r, world_size=world)
        )
        for r in range(world)
    ]
    for step, addresses in enumerate(whole):
        assert len(addresses) == min(batch, photos)
        shares = [rank[step] for rank in ranks]
        assert sorted(chain.from_iterable(shares)) == sorted(addresses)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    per_epoch = stop // 3
    for epoch in range(3):
        seen = [a for step in whole[epoch * per_epoch : (epoch + 1) * per_epoch] for a in step]
        assert len(set(seen)) == len(seen), "no photo twice in an epoch"
        assert {e for e, _ in seen} == {epoch}


def test_epochs_have_different_orders() -> None:
    first, second = StepBatchSampler(20, 20, start=0, stop=2, seed=0)
    assert [i for _, i in first] != [i for _, i in second]


def test_fewer_photos_than_processes() -> None:
    with pytest.raises(RecipeError, match=r"batches of 1 photos.*2 processes.*batch_size"):
        StepBatchSampler(5, 1, start=0, stop=1, seed=0, world_size=2)


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_photo_is_listed_in_its_batch(
    samples: list[Sample], tmp_path: Path, workers: int
) -> None:
    bad = Sample("bad", tmp_path / "bad.jpg", (4, 4), (0,), "0-0")
    bad.image.write_bytes(b"no photo")
    photos = photos_of([*samples[:2], bad])
    order = StepBatchSampler(3, 3, start=0, stop=1, seed=0)
    (batch,) = step_loader(photos, order, collate_tagged, workers=workers)
    assert sorted(batch.ids) == ["0", "1"] and len(batch.image) == 2
    (skipped,) = batch.skipped
    assert skipped.id == "bad" and isinstance(skipped.error, DataError)
    assert str(bad.image) in str(skipped.error)
    assert "\n" not in str(skipped.error), "it has no traceback of a worker"


def test_training_data_has_no_access_to_masks() -> None:
    """Neither the module nor its imports can open a mask."""
    code = (
        "import sys, tag2mask.training.dataset\n"
        "print([m for m in sys.modules if m.startswith('tag2mask.') and 'mask' in m[9:]])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
    assert not any("mask" in name for name in Sample.__dataclass_fields__)


def test_epochs_to_steps() -> None:
    assert epochs_to_steps(5, 100, 1, None) == 500
    assert epochs_to_steps(5, 100, 4, None) == 125
    assert epochs_to_steps(5, 100, 1, 30) == 30
    assert epochs_to_steps(1, 1, 4, None) == 1
