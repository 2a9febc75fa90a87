"""Scores of a segmentation network on the validation photos while it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tag2mask.artifacts.handles import MODEL_FILE
from tag2mask.data.index import Sample
from tag2mask.data.photos import read_photo, read_sample_mask
from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.metrics.confusion import Confusion
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import ordered_map
from tag2mask.segmentation.inference.label_canvas import PhotoLabels
from tag2mask.segmentation.inference.labeling import SINGLE_VIEW, PhotoLabeler
from tag2mask.segmentation.networks import SegmentationNet, SegmenterSpec, save_segmenter
from tag2mask.segmentation.torch_segmenter import TorchSegmenter
from tag2mask.training.log import write_validation
from tag2mask.training.skipped import SkippedPhotos


class Validation:
    """Scores the validation photos, writes ``validation.csv`` and keeps the best network.

    Args:
        samples: validation photos.
        masks: their ground truth by photo id.
        spec: specification of the network.
        section: settings.
        folder: folder of the step.
        runtime: the ranks, which share the photos.
        skipped: records unreadable photos.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        masks: Mapping[str, Path],
        spec: SegmenterSpec,
        section: TrainSegmenter,
        folder: Path,
        runtime: Runtime,
        skipped: SkippedPhotos,
    ) -> None:
        self.samples = samples
        self.masks = masks
        self.spec = spec
        self.section = section
        self.folder = folder
        self.runtime = runtime
        self.skipped = skipped

    def after(self, step: int, net: SegmentationNet) -> None:
        """Score the network after a step; the best network so far becomes the model."""
        runtime, classes = self.runtime, self.spec.classes
        runtime.share_buffers(net)
        segmentation = single_view(net, self.spec, self.section, runtime)
        first, *others = runtime.gather_results(
            lambda: compare_with_masks(
                runtime.shard(self.samples),
                self.masks,
                segmentation,
                len(classes),
                on_unreadable=self.skipped.skip,
            )
        )
        for other in others:
            first.merge(other)
        iou = dict(zip(("background", *classes), first.iou().tolist(), strict=True))
        if runtime.rank == 0 and write_validation(self.folder, step, {"miou": first.miou(), **iou}):
            with atomic_write(self.folder / MODEL_FILE) as temporary:
                save_segmenter(temporary, net, self.spec)
        runtime.barrier()


def single_view(
    net: SegmentationNet,
    spec: SegmenterSpec,
    section: TrainSegmenter,
    runtime: Runtime,
) -> PhotoLabeler:
    """Return a labeler that runs each photo once, at the size of training."""
    segmenter = TorchSegmenter(
        net,
        spec.class_set,
        spec.long_side,
        runtime.device,
        section.precision,
        memory_settings=("train_segmenter.long_side",),
    )
    return PhotoLabeler(
        segmenter,
        replace(SINGLE_VIEW, long_side=spec.long_side),
    )


def compare_with_masks(
    samples: Sequence[Sample],
    masks: Mapping[str, Path],
    segmentation: PhotoLabeler,
    classes: int,
    *,
    on_unreadable: Callable[[str, DataError], None],
) -> Confusion:
    """Compare a network's masks, computed without tags, with ground truth.

    Args:
        samples: the photos.
        masks: path of the ground truth by photo id.
        segmentation: labels the photos.
        classes: number of foreground classes C.
        on_unreadable: called with the id of an unreadable photo, which isn't counted, and its
            error, which it may raise.

    Raises:
        DataError: a mask can't be read.
        DeviceError: out of memory.
    """
    confusion = Confusion.empty(classes)
    for sample, found in _labeled(samples, segmentation):
        if isinstance(found, DataError):
            on_unreadable(sample.id, found)
        else:
            confusion.add(read_sample_mask(sample, masks[sample.id], classes), found.labels)
    return confusion


def _labeled(
    samples: Sequence[Sample], segmentation: PhotoLabeler
) -> Iterator[tuple[Sample, PhotoLabels | DataError]]:
    """Yield the labels of photos in order, or the error of an unreadable photo."""

    def label(sample: Sample) -> tuple[Sample, PhotoLabels | DataError]:
        try:
            photo = read_photo(sample, at_least=segmentation.decode_at(sample.size))
        except DataError as error:
            return sample, error
        return sample, segmentation(photo, sample.size, None)

    return ordered_map(label, samples, segmentation.segmenter.caller_threads)
