"""Photos and tags as training batches.

Every random choice of a photo's augmentation comes from (seed, epoch, index) alone, so a run that
is resumed, or split over more workers or ranks, draws the same ones. Masks can't be reached from
here: the samples that this module reads don't hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from tag2mask.data.images import read_image
from tag2mask.data.index import Sample
from tag2mask.errors import RecipeError, Tag2MaskError

TaggedItem = tuple[Tensor, Tensor, Tensor, str]
"""Image (3, h, w), tags (C,), valid (h, w) and id of one photo; see `TaggedBatch`."""

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class UnreadablePhoto:
    """A photo that should be in a batch and can't be read.

    Attributes:
        id: of the photo.
        error: names its file and says why.
    """

    id: str
    error: Tag2MaskError


@dataclass(frozen=True)
class TaggedBatch:
    """A training batch.

    Attributes:
        image: normalized, float32 (b, 3, h, w); 0 on padding.
        tags: 0/1 float32 (b, C).
        valid: bool (b, h, w), False on padding.
        ids: b photo ids.
        skipped: photos left out because they can't be read; b may then be 0.
    """

    image: Tensor
    tags: Tensor
    valid: Tensor
    ids: tuple[str, ...]
    skipped: tuple[UnreadablePhoto, ...] = ()

    def pin_memory(self) -> TaggedBatch:
        """The batch in page-locked memory; loaders call this before a copy to a GPU."""
        return TaggedBatch(
            self.image.pin_memory(),
            self.tags.pin_memory(),
            self.valid.pin_memory(),
            self.ids,
            self.skipped,
        )


@dataclass(frozen=True)
class Augmentation:
    """How a photo becomes a training crop.

    Attributes:
        crop: side of the crop, px.
        long_side: range of the long side before cropping, px; None: the photo's own.
        color_jitter: brightness, contrast, saturation, hue.
        mean: of the normalization, per channel, for values in [0, 1].
        std: likewise.
        scale: range of a factor that the long side is multiplied by; None: none.
    """

    crop: int
    long_side: tuple[int, int] | None
    color_jitter: tuple[float, float, float, float]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class CropWindow:
    """Where one training crop lies, for the photo and for any map of its size.

    Attributes:
        size: (width, height) that the whole photo is resized to.
        flip: whether it is then mirrored.
        box: (left, top, right, bottom) that is then cut out.
        rows: of the crop that the box fills; the rest is padding.
        columns: likewise.
        side: of the crop.
    """

    size: tuple[int, int]
    flip: bool
    box: tuple[int, int, int, int]
    rows: slice
    columns: slice
    side: int

    @classmethod
    def draw(cls, size: tuple[int, int], side: int, rng: np.random.Generator) -> CropWindow:
        """Mirror half of the photos and place them at random, inside the padding if smaller."""
        flip = rng.random() < 0.5
        width, height = size
        top_from, top_to, high = _place(height, side, rng)
        left_from, left_to, wide = _place(width, side, rng)
        return cls(
            size,
            flip,
            (left_from, top_from, left_from + wide, top_from + high),
            slice(top_to, top_to + high),
            slice(left_to, left_to + wide),
            side,
        )

    def cut(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """The part of an image that falls into the crop, (h, w) of ``rows`` and ``columns``."""
        image = image.resize(self.size, resample)
        if self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image.crop(self.box)


class TrainingDataset(Dataset[TaggedItem]):
    """Augmented photos, addressed by (epoch, index).

    Args:
        samples: the training photos.
        num_classes: foreground classes C.
        augmentation: how photos become crops.
        seed: of the augmentation.
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
        tags = torch.zeros(self.num_classes)
        tags[list(sample.tags)] = 1.0
        return image, tags, valid, sample.id

    def cropped(self, address: tuple[int, int]) -> tuple[Tensor, Tensor, CropWindow]:
        """Image and valid mask of an address, and which part of the photo they are."""
        epoch, index = address
        rng = np.random.default_rng((self.seed, epoch, index))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            return self._crop(self.samples[index], rng)

    def _crop(self, sample: Sample, rng: np.random.Generator) -> tuple[Tensor, Tensor, CropWindow]:
        """Resize, flip, crop (zero padded), jitter what was cropped, normalize."""
        settings = self.augmentation
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
        photo = self.jitter(crop.cut(photo, Image.Resampling.BICUBIC))
        pixels = torch.from_numpy(np.asarray(photo, dtype=np.float32) / 255).permute(2, 0, 1)
        mean, std = torch.tensor(settings.mean), torch.tensor(settings.std)
        image = torch.zeros(3, side, side)
        valid = torch.zeros(side, side, dtype=torch.bool)
        image[:, crop.rows, crop.columns] = (pixels - mean[:, None, None]) / std[:, None, None]
        valid[crop.rows, crop.columns] = True
        return image, valid, crop


class StepBatchSampler:
    """Batches of photo addresses, one a training step, from a given step on.

    Each epoch is a permutation drawn from (seed, epoch); what does not fill a batch is left out, as
    published, unless the whole set is smaller than one batch.

    Args:
        photos: number of photos.
        batch_size: photos per step over all ranks.
        start: first step.
        stop: one past the last step.
        seed: of the order.
        rank: this process.
        world_size: number of processes; each takes its slice of the batch.
        setting: key of the batch size, as the user knows it.

    Raises:
        RecipeError: fewer photos in a batch than processes.
    """

    def __init__(
        self,
        photos: int,
        batch_size: int,
        *,
        start: int,
        stop: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        setting: str = "train_cam.batch_size",
    ) -> None:
        self.photos = photos
        self.batch_size = min(batch_size, photos)
        if self.batch_size < world_size:
            raise RecipeError(
                f"batches of {self.batch_size} photos can't be shared among {world_size} processes",
                where=setting,
                fix="Raise it, or lower runtime.devices.",
            )
        self.start = start
        self.stop = stop
        self.seed = seed
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = steps_per_epoch(self.photos, self.batch_size)
        order, drawn = np.empty(0, dtype=np.int64), -1
        for step in range(self.start, self.stop):
            epoch, position = divmod(step, per_epoch)
            if epoch != drawn:
                order = np.random.default_rng((self.seed, epoch)).permutation(self.photos)
                drawn = epoch
            first = position * self.batch_size
            batch = order[first : first + self.batch_size][self.rank :: self.world_size]
            yield [(epoch, int(index)) for index in batch]


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Whole batches in an epoch, at least one."""
    return max(1, photos // batch_size)


class EpochDataset(Protocol):
    """What a loader reads: items by (epoch, index of a photo)."""

    samples: Sequence[Sample]

    def __getitem__(self, address: tuple[int, int], /) -> Any:
        """One item, or a `Tag2MaskError` that names what can't be read."""


def training_loader(
    photos: TrainingDataset, batches: StepBatchSampler, *, workers: int, pin_memory: bool = False
) -> Iterable[TaggedBatch]:
    """Load batches in the order of ``batches``.

    An unreadable photo raises no error here but is listed in its batch's ``skipped``. Whether it
    may be skipped is decided by the caller, on all ranks together; see `SkippedPhotos`.

    Args:
        photos: what the addresses point into.
        batches: addresses of each batch.
        workers: processes that read photos; 0: this one does.
        pin_memory: for a GPU.
    """
    return step_loader(photos, batches, collate_tagged, workers=workers, pin_memory=pin_memory)


def step_loader(
    photos: EpochDataset,
    batches: StepBatchSampler,
    collate: Callable[[Sequence[Any]], BatchT],
    *,
    workers: int,
    pin_memory: bool = False,
) -> Iterable[BatchT]:
    """`training_loader` of any items; ``collate`` gets `UnreadablePhoto` in the place of some."""
    loader: DataLoader[BatchT] = DataLoader(
        _ErrorsAsItems(photos),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
    )
    return loader


class _ErrorsAsItems(Dataset[Any]):
    """Hands errors through worker processes, which would wrap them in their traceback."""

    def __init__(self, photos: EpochDataset) -> None:
        self.photos = photos

    def __getitem__(self, address: tuple[int, int]) -> Any:
        try:
            return self.photos[address]
        except Tag2MaskError as error:
            return UnreadablePhoto(self.photos.samples[address[1]].id, error)


def collate_tagged(items: Sequence[TaggedItem | UnreadablePhoto]) -> TaggedBatch:
    """Stack the photos that could be read into a batch, and name the others."""
    skipped = tuple(item for item in items if isinstance(item, UnreadablePhoto))
    read = [item for item in items if not isinstance(item, UnreadablePhoto)]
    if not read:
        return TaggedBatch(
            torch.zeros(0, 3, 1, 1),
            torch.zeros(0, 1),
            torch.zeros(0, 1, 1, dtype=torch.bool),
            (),
            skipped,
        )
    images, tags, valid, ids = zip(*read, strict=True)
    return TaggedBatch(torch.stack(images), torch.stack(tags), torch.stack(valid), ids, skipped)


def _place(length: int, side: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """(first photo pixel, first crop pixel, pixels copied) along one side."""
    if length >= side:
        return int(rng.integers(length - side + 1)), 0, side
    return 0, int(rng.integers(side - length + 1)), length
