"""Photos and their affinity labels as training batches.

The crops are those of CAM training (`tag2mask.training.dataset`). The label map is scaled, mirrored
and cropped in the same way, then reduced to the grid on which affinities are computed. Published:
the marginals of both CRFs are cropped and averaged instead (`tag2mask.affinity.marginals`). Label
maps and marginals are computed from CAMs: this module reads no ground truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tag2mask.affinity.labels import label_path
from tag2mask.affinity.marginals import cell_labels, marginals_path, read_marginals
from tag2mask.classes import IGNORE
from tag2mask.data.index import Sample
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError
from tag2mask.training.augmentation import Augmentation, CropWindow
from tag2mask.training.dataset import Batch, TrainingDataset, UnreadablePhoto, stack_readable

AffinityItem = tuple[Tensor, Tensor, Tensor, str]
"""Image (3, H, W), labels (h, w), valid (H, W) and id of one photo; see `AffinityBatch`."""


@dataclass(frozen=True)
class AffinityBatch(Batch):
    """A batch for AffinityNet.

    Attributes:
        image: normalized, float32 (b, 3, H, W); padding is 0, or black if published.
        labels: mask ids uint8 (b, h, w) on the affinity's grid; 255 = unsure or padding.
        valid: bool (b, H, W), False on padding.
        ids: b photo ids.
        skipped: photos left out as they or their labels are unreadable; b may then be 0.
    """

    image: Tensor
    labels: Tensor
    valid: Tensor
    ids: tuple[str, ...]
    skipped: tuple[UnreadablePhoto, ...] = ()


class AffinityDataset(Dataset[AffinityItem]):
    """Augmented photos with their labels, addressed by (epoch, index).

    Args:
        samples: the photos, each with a label map.
        folder: the ``affinity-labels`` folder.
        num_classes: foreground classes C.
        augmentation: how photos become crops.
        seed: seed of the augmentation.
        stride: crop pixels per cell of the affinity's grid; should divide the crop's side.
        published: label cells by the mean marginals of both CRFs, not by the most frequent label.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        folder: Path,
        num_classes: int,
        augmentation: Augmentation,
        seed: int,
        *,
        stride: int,
        published: bool,
    ) -> None:
        self.samples = samples
        self.folder = folder
        self.num_classes = num_classes
        self.stride = stride
        self.published = published
        self.photos = TrainingDataset(samples, num_classes, augmentation, seed)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, address: tuple[int, int]) -> AffinityItem:
        sample = self.samples[address[1]]
        image, valid, crop = self.photos.cropped(address)
        labels = self._marginal_cells if self.published else self._majority_cells
        return image, torch.from_numpy(labels(sample, crop)), valid, sample.id

    def _majority_cells(self, sample: Sample, crop: CropWindow) -> NDArray[np.uint8]:
        """Return the most frequent label of each cell of a crop, uint8 (h, w)."""
        cut = crop.cut(Image.fromarray(self._label_map(sample)), Image.Resampling.NEAREST)
        labels = np.full((crop.side, crop.side), IGNORE, np.uint8)
        labels[crop.rows, crop.columns] = np.asarray(cut)
        return reduce_labels(labels, self.stride)

    def _marginal_cells(self, sample: Sample, crop: CropWindow) -> NDArray[np.uint8]:
        """Return the labels of each cell of a crop by its mean marginals, uint8 (h, w)."""
        path = marginals_path(self.folder, sample.id)
        tags, marginals = read_marginals(path, sample.size, self.num_classes)
        cropped = np.zeros((*marginals.shape[:2], crop.side, crop.side), np.float32)
        for crf, channel in np.ndindex(marginals.shape[:2]):
            cut = crop.cut(Image.fromarray(marginals[crf, channel]), Image.Resampling.BILINEAR)
            cropped[crf, channel, crop.rows, crop.columns] = np.asarray(cut)
        return cell_labels(cropped, tags, self.stride)

    def _label_map(self, sample: Sample) -> NDArray[np.uint8]:
        path = label_path(self.folder, sample.id)
        label_map = read_mask(path, self.num_classes)
        if label_map.shape != sample.size:
            raise DataError(
                f"labels of {label_map.shape[1]}x{label_map.shape[0]} px for a photo of"
                f" {sample.size[1]}x{sample.size[0]} px",
                where=path,
                fix="Run affinity-labels again for these photos.",
            )
        return label_map


def collate_affinity(items: Sequence[AffinityItem | UnreadablePhoto]) -> AffinityBatch:
    """Make a batch of photos; see `stack_readable`."""
    labels = torch.zeros(0, 1, 1, dtype=torch.uint8)
    return stack_readable(AffinityBatch, items, (torch.zeros(0, 3, 1, 1), labels, labels.bool()))


def reduce_labels(labels: NDArray[np.uint8], stride: int) -> NDArray[np.uint8]:
    """Reduce a label map to cells: each gets the label of most of its pixels.

    Unsure pixels count too; ties go to the lowest mask id, so 255 needs more pixels than any class.
    The authors' code averages the marginals of the CRFs instead, see `cell_labels`.

    Args:
        labels: mask ids uint8 (H, W); 255 = unsure.
        stride: pixels per cell; pixels beyond the border count as 255.

    Returns:
        Mask ids uint8 (ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import numpy as np
        >>> from tag2mask.affinity.dataset import reduce_labels
        >>> labels = np.array([[1, 1, 0, 255], [1, 0, 255, 255]], np.uint8)
        >>> reduce_labels(labels, stride=2).tolist()
        [[1, 255]]
    """
    height, width = (-(-side // stride) for side in labels.shape)
    padded = np.full((height * stride, width * stride), IGNORE, np.uint8)
    padded[: labels.shape[0], : labels.shape[1]] = labels
    ids = np.unique(padded)
    blocks = padded.reshape(height, stride, width, stride)
    votes = np.stack([(blocks == mask_id).sum(axis=(1, 3)) for mask_id in ids])
    reduced: NDArray[np.uint8] = ids[votes.argmax(axis=0)]
    return reduced
