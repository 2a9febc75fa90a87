"""Photos and their label maps as training batches for a segmentation network.

Photos are augmented as in ``training.dataset``, and the label map of a photo is resized, flipped
and cropped with it. The caller chooses the label maps, pseudo masks or ground truth: only masks
whose paths are passed in can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tag2mask.classes import BACKGROUND, IGNORE, mask_id
from tag2mask.data.index import Sample
from tag2mask.data.photos import read_sample_mask
from tag2mask.training.augmentation import Augmentation, CropWindow
from tag2mask.training.dataset import Batch, TrainingDataset, UnreadablePhoto, stack_readable

SegmenterItem = tuple[Tensor, Tensor, Tensor, Tensor, str]
"""Image (3, s, s), labels (s, s), tags (C,), tags_apply (s, s) and id of one photo; see
`SegmenterBatch`."""


@dataclass(frozen=True)
class SegmenterBatch(Batch):
    """A batch for a segmentation network.

    Attributes:
        image: normalized, float32 (b, 3, s, s); 0 on padding.
        labels: mask ids, uint8 (b, s, s); 255 for unlabeled pixels and padding.
        tags: image-level labels, float32 (b, C), 0 or 1.
        tags_apply: bool (b, s, s), the pixels that the tags apply to: all but padding; none of a
            photo whose label map shows a class that it isn't tagged with.
        ids: b photo ids.
        skipped: photos left out because they or their labels can't be read; b may then be 0.
    """

    image: Tensor
    labels: Tensor
    tags: Tensor
    tags_apply: Tensor
    ids: tuple[str, ...]
    skipped: tuple[UnreadablePhoto, ...] = ()


class SegmenterDataset(Dataset[SegmenterItem]):
    """Augmented photos with their label maps, indexed by (epoch, photo index).

    Args:
        samples: the photos, each with a label map.
        labels: their label maps by photo id: indexed masks of the photo's size.
        num_classes: foreground classes C.
        augmentation: how photos become crops.
        seed: seed of the augmentation.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        labels: Mapping[str, Path],
        num_classes: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.samples = samples
        self.labels = labels
        self.num_classes = num_classes
        self.photos = TrainingDataset(samples, num_classes, augmentation, seed)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, address: tuple[int, int]) -> SegmenterItem:
        sample = self.samples[address[1]]
        image, inside, crop = self.photos.cropped(address)
        mask = read_sample_mask(sample, self.labels[sample.id], self.num_classes)
        possible = np.zeros(256, np.bool_)  # by mask id
        possible[[BACKGROUND, *(mask_id(tag) for tag in sample.tags), IGNORE]] = True
        tags_apply = inside if possible[mask].all() else torch.zeros_like(inside)
        labels, tags = torch.from_numpy(_cut(crop, mask)), self.photos.tags_of(sample)
        return image, labels, tags, tags_apply, sample.id


def collate_segmenter(items: Sequence[SegmenterItem | UnreadablePhoto]) -> SegmenterBatch:
    """Make a batch of photos; see `stack_readable`."""
    image, labels = torch.zeros(0, 3, 1, 1), torch.zeros(0, 1, 1, dtype=torch.uint8)
    empty = (image, labels, torch.zeros(0, 1), labels.bool())
    return stack_readable(SegmenterBatch, items, empty)


def _cut(crop: CropWindow, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the part of a mask that falls into a crop, at the crop's size; padding is ignored."""
    result = np.full((crop.side, crop.side), IGNORE, np.uint8)
    part = crop.cut(Image.fromarray(mask), Image.Resampling.NEAREST)
    result[crop.rows, crop.columns] = np.asarray(part)
    return result
