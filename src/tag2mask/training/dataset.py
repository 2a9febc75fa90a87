"""Photos and tags as training batches.

The random numbers of a photo's augmentation depend only on (seed, epoch, index), so a training that
is resumed, or split over more workers or ranks, uses the same crops. Masks can't be read from here:
samples have no path to a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from threading import Lock
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from tag2mask.data.images import read_image
from tag2mask.data.index import Sample
from tag2mask.errors import Tag2MaskError
from tag2mask.runtime.threads import MAX_THREADS, processors
from tag2mask.training.augmentation import Augmentation, CropWindow
from tag2mask.training.sampler import StepBatchSampler

TaggedItem = tuple[Tensor, Tensor, Tensor, str]
"""Image (3, h, w), tags (C,), valid (h, w) and id of one photo; see `TaggedBatch`."""

BatchT = TypeVar("BatchT")

_TORCH_GENERATOR = Lock()
"""Held while a photo's color jitter is drawn from torch's generator, which all threads share."""


@dataclass(frozen=True)
class UnreadablePhoto:
    """A photo that should be in a batch but can't be read.

    Attributes:
        id: id of the photo.
        error: the error, which names the file and the reason.
    """

    id: str
    error: Tag2MaskError


@dataclass(frozen=True)
class Batch:
    """What training batches share: their fields are tensors, then ``ids`` and ``skipped``."""

    def pin_memory(self) -> Self:
        """Return the batch in page-locked memory; data loaders call it before a copy to a GPU."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        pinned = {k: v.pin_memory() for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **pinned)


@dataclass(frozen=True)
class TaggedBatch(Batch):
    """A training batch of photos and their tags.

    Attributes:
        image: normalized, float32 (b, 3, h, w); 0 on padding.
        tags: image-level labels, float32 (b, C), 0 or 1.
        valid: bool (b, h, w), False on padding.
        ids: b photo ids.
        skipped: photos left out because they can't be read; b may then be 0.
    """

    image: Tensor
    tags: Tensor
    valid: Tensor
    ids: tuple[str, ...]
    skipped: tuple[UnreadablePhoto, ...] = ()


class TrainingDataset(Dataset[TaggedItem]):
    """Augmented photos with tags, indexed by (epoch, photo index).

    Args:
        samples: the training photos.
        num_classes: number of foreground classes C.
        augmentation: how photos become crops.
        seed: seed of the augmentation.
    """

    def __init__(
        self, samples: Sequence[Sample], num_classes: int, augmentation: Augmentation, seed: int
    ) -> None:
        self.samples = samples
        self.num_classes = num_classes
        self.augmentation = augmentation
        self.seed = seed
        self.jitter = v2.ColorJitter(*augmentation.color_jitter)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, address: tuple[int, int]) -> TaggedItem:
        image, valid, _ = self.cropped(address)
        sample = self.samples[address[1]]
        return image, self.tags_of(sample), valid, sample.id

    def tags_of(self, sample: Sample) -> Tensor:
        """Return the tags of a photo, float32 (C,), 0 or 1."""
        tags = torch.zeros(self.num_classes)
        tags[list(sample.tags)] = 1.0
        return tags

    def cropped(self, address: tuple[int, int]) -> tuple[Tensor, Tensor, CropWindow]:
        """Return image (3, s, s), valid mask (s, s) and the crop that they were taken from."""
        epoch, index = address
        sample, settings = self.samples[index], self.augmentation
        rng = np.random.default_rng((self.seed, epoch, index))
        jitter = self.draw_jitter(int(rng.integers(2**62)))
        if settings.long_side is None:
            long_side = max(sample.size)
        else:
            long_side = int(rng.integers(settings.long_side[0], settings.long_side[1] + 1))
        if settings.scale is not None:
            long_side = max(1, round(long_side * rng.uniform(*settings.scale)))
        photo = read_image(sample.image, at_least=long_side)
        scale = long_side / max(photo.size)
        width, height = (max(1, round(side * scale)) for side in photo.size)
        side = settings.crop
        crop = CropWindow.draw((width, height), side, rng)
        if settings.jitter_photo:
            photo = jitter(photo.resize(crop.size, Image.Resampling.BICUBIC))
            part = crop.cut(photo, Image.Resampling.BICUBIC)
        else:
            part = jitter(crop.cut(photo, Image.Resampling.BICUBIC))
        # NumPy, since torch would start threads of its own in each thread that reads photos.
        mean, std = (np.array(s, np.float32)[:, None, None] for s in (settings.mean, settings.std))
        image = np.zeros((3, side, side), np.float32)
        if settings.black_padding:
            image -= mean / std
        valid = np.zeros((side, side), np.bool_)
        pixels = image[:, crop.rows, crop.columns]
        pixels[:] = np.asarray(part).transpose(2, 0, 1)
        pixels /= 255  # in place and in memory order: six times as fast
        pixels -= mean
        pixels /= std
        valid[crop.rows, crop.columns] = True
        return torch.from_numpy(image), torch.from_numpy(valid), crop

    def draw_jitter(self, seed: int) -> Callable[[Image.Image], Image.Image]:
        """Return a color jitter whose strengths and order are drawn from a seed.

        torchvision draws them from torch's generator, which is restored afterwards.
        """
        generator = torch.default_generator
        with _TORCH_GENERATOR:
            state = generator.get_state()
            try:
                generator.manual_seed(seed)
                drawn = self.jitter.make_params([])
            finally:
                generator.set_state(state)
        return lambda image: self.jitter.transform(image, drawn)


class EpochDataset(Protocol):
    """A dataset indexed by (epoch, photo index)."""

    samples: Sequence[Sample]

    def __getitem__(self, address: tuple[int, int], /) -> Any:
        """Return one item, or raise a `Tag2MaskError` that names the unreadable file."""


def step_loader(
    photos: EpochDataset,
    batches: StepBatchSampler,
    collate: Callable[[Sequence[Any]], BatchT],
    *,
    workers: int,
    pin_memory: bool = False,
) -> Iterable[BatchT]:
    """Load items of any dataset, in the order of ``batches``.

    An unreadable photo raises no error here but is listed in its batch's ``skipped``. Whether it
    may be skipped is decided by the caller, on all ranks together; see `SkippedPhotos`.

    With ``workers=0`` threads of this process read a batch when it is asked for, and wait while the
    network computes. On a CPU that is faster than processes that read ahead: the threads of a
    network wait for the slowest one, so each photo read at the same time delays all of them.

    Args:
        photos: the dataset.
        batches: indices of each batch.
        collate: makes a batch of items; it gets an `UnreadablePhoto` for a failed one.
        workers: number of processes that read photos.
        pin_memory: whether batches are in page-locked memory, for copies to a GPU.
    """
    items = _ErrorsAsItems(photos)
    if not workers:
        return _read_when_asked(items, batches, collate, pin_memory=pin_memory)
    loader: DataLoader[BatchT] = DataLoader(
        items,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        prefetch_factor=4,
    )
    return loader


def _read_when_asked(
    items: Dataset[Any],
    batches: StepBatchSampler,
    collate: Callable[[Sequence[Any]], BatchT],
    *,
    pin_memory: bool,
) -> Iterator[BatchT]:
    """Yield the batches, each read by threads after the one before was used."""
    with ThreadPoolExecutor(min(processors(), MAX_THREADS)) as pool:
        for addresses in batches:
            batch: Any = collate(list(pool.map(items.__getitem__, addresses)))
            yield batch.pin_memory() if pin_memory else batch


class _ErrorsAsItems(Dataset[Any]):
    """Returns errors as items: raised in a worker process, they would arrive as a traceback."""

    def __init__(self, photos: EpochDataset) -> None:
        self.photos = photos

    def __getitem__(self, address: tuple[int, int]) -> Any:
        try:
            return self.photos[address]
        except Tag2MaskError as error:
            return UnreadablePhoto(self.photos.samples[address[1]].id, error)


def stack_readable(
    kind: Callable[..., BatchT], items: Sequence[Any], empty: tuple[Tensor, ...]
) -> BatchT:
    """Stack the readable photos into a batch, and list the others in ``skipped``.

    Args:
        kind: class of the batch, a `Batch`.
        items: tensors and id of each photo, in the order of the batch's fields; an
            `UnreadablePhoto` for one that can't be read.
        empty: the tensors of a batch without a readable photo.
    """
    skipped = tuple(item for item in items if isinstance(item, UnreadablePhoto))
    read = [item for item in items if not isinstance(item, UnreadablePhoto)]
    if not read:
        return kind(*empty, (), skipped)
    *tensors, ids = zip(*read, strict=True)
    return kind(*map(torch.stack, tensors), ids, skipped)


def collate_tagged(items: Sequence[TaggedItem | UnreadablePhoto]) -> TaggedBatch:
    """Make a batch of photos; see `stack_readable`."""
    valid = torch.zeros(0, 1, 1, dtype=torch.bool)
    return stack_readable(TaggedBatch, items, (torch.zeros(0, 3, 1, 1), torch.zeros(0, 1), valid))
