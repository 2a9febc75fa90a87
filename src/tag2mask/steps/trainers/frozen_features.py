"""Features of photos from a backbone that is not trained, computed once and kept on the disk.

Each photo has a file of float16 in the step's folder while it trains, so the memory doesn't grow
with their number. Files of an interrupted training are used again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tag2mask.artifacts.items import SkippedItems, named_path
from tag2mask.data.index import Sample
from tag2mask.data.photos import read_photo
from tag2mask.errors import DataError, RunFolderError
from tag2mask.files.atomic import atomic_write
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.inference_copy import inference_copy
from tag2mask.nn.photo_input import PhotoInput
from tag2mask.recipe.training import TrainCam
from tag2mask.runtime.memory import explain_out_of_memory
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import ordered_map
from tag2mask.seam.head_starts import CellStatistics
from tag2mask.seam.network import SeamNet
from tag2mask.seam.tiled_maps import MapTiles, features_in_tiles
from tag2mask.training.skipped import SkippedPhotos

FEATURES = "features"
"""Folder of the files, in the step's folder."""
SUFFIX = ".npy"


class FrozenFeatures:
    """The features of photos, one file each.

    Args:
        folder: the step's folder.
        samples: the photos.
    """

    def __init__(self, folder: Path, samples: Sequence[Sample]) -> None:
        self.folder = folder / FEATURES
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> Tensor:
        """Return the features of a photo, float16 (c, h, w).

        Raises:
            RunFolderError: the file is missing or damaged.
        """
        path = named_path(self.folder, self.samples[index].id, SUFFIX)
        try:
            return torch.from_numpy(np.load(path))
        except (OSError, ValueError, EOFError) as error:
            raise RunFolderError(
                f"features can't be read: {' '.join(str(error).split())}",
                where=path,
                fix="Delete the file and run the same command again.",
            ) from None

    def statistics(self) -> CellStatistics:
        """Return mean and variance of each channel over the cells of all photos, in their order."""
        cells, total, squares = 0, np.zeros(0), np.zeros(0)
        for index in range(len(self)):
            photo = self.read(index).flatten(1).double().numpy()
            own, own_squares = photo.sum(axis=1), np.square(photo).sum(axis=1)
            total = total + own if cells else own
            squares = squares + own_squares if cells else own_squares
            cells += photo.shape[1]
        mean = total / cells
        variance = np.maximum(squares / cells - np.square(mean), 0.0)
        return CellStatistics(torch.from_numpy(mean).float(), torch.from_numpy(variance).float())

    def delete(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def compute_features(
    net: SeamNet,
    samples: Sequence[Sample],
    section: TrainCam,
    folder: Path,
    runtime: Runtime,
    skipped: SkippedPhotos,
    *,
    name: str,
) -> FrozenFeatures:
    """Compute the features that are missing; return those of all readable photos.

    Must be called on all ranks, which share the photos.

    Args:
        net: whose backbone is used.
        samples: the photos.
        section: ``long_side``, ``precision``, and ``crop``: larger views are computed in tiles.
        folder: of the step.
        runtime: where to run.
        skipped: records unreadable photos; those of earlier sessions stay skipped.
        name: title of the progress bar.

    Raises:
        DataError: a photo can't be read (unless ``skip_bad``); features aren't finite; no photo is
            left.
        DeviceError: out of memory.
        RunFolderError: the disk is too small, or ``folder`` can't be written.
    """
    lost = SkippedItems(skipped.lines())
    wanted = [sample for sample in samples if sample.id not in lost]
    computer = _FeatureComputer(net, section, folder, runtime)
    missing = [sample for sample in wanted if not computer.is_complete(sample)]
    runtime.gather_results(lambda: computer.check_disk(missing))
    own = runtime.shard(missing)
    with runtime.progress(len(own), f"{name}, features") as bar:
        runtime.gather_results(lambda: computer.write(own, skipped, bar))
    lost = SkippedItems(skipped.lines())
    left = [sample for sample in wanted if sample.id not in lost]
    if not any(sample.tags for sample in left):
        raise DataError("no tagged training photo can be read", where=samples[0].image.parent)
    return FrozenFeatures(folder, left)


class _FeatureComputer:
    """Computes the features of photos and writes them."""

    def __init__(self, net: SeamNet, section: TrainCam, folder: Path, runtime: Runtime) -> None:
        self.section = section
        self.folder = folder
        self.runtime = runtime
        # The copy would otherwise have the training's dropout and batch norms.
        training = net.training
        self.backbone: Backbone = inference_copy(net.eval(), runtime.device).backbone
        net.train(training)
        self.tiles = MapTiles(section.crop)
        self.input = PhotoInput(
            self.backbone.mean,
            self.backbone.std,
            runtime.device,
            long_side=None if section.long_side is None else section.long_side[0],
            multiple=self.backbone.size_multiple,
        )

    def path(self, sample: Sample) -> Path:
        """Return the path of a photo's file."""
        return named_path(self.folder / FEATURES, sample.id, SUFFIX)

    def shape(self, sample: Sample) -> tuple[int, int, int]:
        """Return the shape (c, h, w) of a photo's features."""
        height, width = self.input.view_size(sample.size, 1.0)
        stride = self.backbone.stride
        return self.backbone.channels[2], height // stride, width // stride

    def is_complete(self, sample: Sample) -> bool:
        """Return whether a photo's file is there; a power failure may have cut it off."""
        try:
            found = np.load(self.path(sample), mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return False
        return bool(found.shape == self.shape(sample))

    def check_disk(self, samples: Sequence[Sample]) -> None:
        """Check that the features of photos fit on the disk.

        Raises:
            RunFolderError: they don't.
        """
        needed = sum(2 * int(np.prod(self.shape(sample))) for sample in samples)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise RunFolderError(
                f"the features of {len(samples):,} photos take {needed / 2**30:.1f} GiB while "
                f"train-cam runs, and {free / 2**30:.1f} GiB are free",
                where=self.folder,
                fix="Free space, give another --out, or set a smaller train_cam.long_side.",
            )

    def write(self, samples: Sequence[Sample], skipped: SkippedPhotos, bar: ProgressBar) -> None:
        """Write the features of photos."""
        for sample, photo in self._photos(samples):
            if isinstance(photo, DataError):
                skipped.skip(sample.id, photo)
            else:
                features = self._features(sample, photo)
                with atomic_write(self.path(sample), durable=False) as temporary:
                    np.save(temporary, features)
            bar.advance()

    def _photos(
        self, samples: Sequence[Sample]
    ) -> Iterator[tuple[Sample, Image.Image | DataError]]:
        def read(sample: Sample) -> tuple[Sample, Image.Image | DataError]:
            try:
                return sample, read_photo(
                    sample, at_least=max(self.input.view_size(sample.size, 1.0))
                )
            except DataError as error:
                return sample, error

        return ordered_map(read, samples, 1)

    @torch.inference_mode()
    def _features(self, sample: Sample, photo: Image.Image) -> NDArray[np.float16]:
        image = self.input.image(photo, self.input.view_size(sample.size, 1.0))
        with (
            explain_out_of_memory("train_cam.crop"),
            self.runtime.autocast(self.section.precision),
        ):
            last = features_in_tiles(self.backbone, torch.stack([image]), self.tiles)[0]
        features: NDArray[np.float16] = last.half().contiguous().cpu().numpy()
        if not np.isfinite(features).all():
            raise DataError(
                f"the features of {sample.id!r} aren't finite",
                where=sample.image,
                fix="Set train_cam.precision to '32', or give other train_cam.backbone.weights.",
            )
        return features
