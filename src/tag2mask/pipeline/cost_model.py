"""Measured speeds and sizes that the estimates are computed from.

The constants were measured on two cores of a current server processor with EfficientNet-Lite0 in
bf16, and on one H200 GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from tag2mask.artifacts.handles import AffinityLabels, Handle, Predictions, PseudoMaskFolder
from tag2mask.recipe.crf import Crf
from tag2mask.recipe.sections import RuntimeSettings
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.recipe.training import TrainCam
from tag2mask.runtime.threads import MAX_THREADS, SMALL_PIXELS, omp_threads, processors

# Work per pixel, relative to EfficientNet-Lite0 at stride 16.
WORK = {
    "tf_efficientnet_lite0": 1.0,
    "tf_efficientnet_lite1": 1.6,
    "tf_efficientnet_lite2": 2.1,
    "tf_efficientnet_lite3": 3.3,
    "tf_efficientnet_lite4": 5.5,
    "resnet18": 2.0,
    "resnet50": 5.0,
    "resnet38": 60.0,
}
OTHER_WORK = 5.0
STRIDE_WORK = {8: 2.5, 16: 1.0, 32: 0.7}
PCM_WORK, AFFINITY_WORK, LABELING_WORK = 0.4, 0.7, 1.1
DECODER_WORK, LOSS_WORK = 0.7, 0.4
"""Of a decoder of 256 channels, and of a loss at every pixel."""
FROZEN_WORK = {1: 0.0, 2: 0.05, 4: 0.1, 8: 0.2}
"""What layers up to a stride save if they aren't trained."""
TRUNCATED_WORK = 0.35
"""Of a backbone that ends at stride 8; relative to the complete one at stride 16."""
MDC_WORK = 0.4
"""Of an MDC head of four branches with 128 channels at stride 16."""

# Speed on two cores, and of a GPU relative to them.
TRAIN_SECONDS, INFER_SECONDS = 0.8, 0.15
"""Per Mpx: forward and backward pass, and forward pass alone."""
TRAINING_GPU, INFERENCE_GPU = 110.0, 25.0
HEAD_SECONDS = 0.006
"""Per million values of the maps of several heads on frozen features, in a training step."""
FILE_SECONDS = 0.055
"""Per Mpx of a photo at its own size: decoding it, and writing its maps or features."""
START_SECONDS = 4.0
WALK_SECONDS, WALK_STEP_SECONDS, GRID_SECONDS = 0.025, 0.001, 0.04
"""Per photo, per photo and step, and per Mpx of the map's file."""
CRF_SECONDS, CRF_STEP_SECONDS = 0.4, 0.03
"""Per Mpx on one thread: building the lattice, and one iteration."""
MASK_SECONDS, LABEL_SECONDS, EVALUATION_SECONDS = 0.016, 0.03, 0.09
"""Per Mpx."""

# Memory and disk in MiB, per Mpx unless said otherwise.
BASE_MIB, TRAIN_MIB, INFER_MIB, CRF_MIB, SCORE_MIB, READ_MIB = 900, 3000, 600, 220, 25, 5
WEIGHT_MIB = {"tf_efficientnet_lite0": 14.0, "tf_efficientnet_lite2": 20.0, "resnet38": 480.0}
OTHER_WEIGHT_MIB = 100.0
MASK_MIB: dict[type[Handle], float] = {
    AffinityLabels: 0.0107,
    PseudoMaskFolder: 0.0047,
    Predictions: 0.0078,
}
"""A palette PNG of 1 Mpx; it grows with the square root of the area."""
CONFIDENCE_MIB, OVERLAY_MIB = 0.32, 0.4
FEATURE_MIB = 10
"""Per Mpx and px of stride: features of float16, whose channels grow with the stride."""
CHECKPOINTED = 0.5
"""Memory of the activations with gradient checkpointing, relative to that without."""
ATTENTION_BYTES = 90
"""Of a pair of cells in a walk along attention: the heads of a block of a small ViT, the mean of
each late block, the matrix in float64."""
TAGS_PER_PHOTO = 1.6
MARGINALS_MIB = 2 * 2e6 / 2**20 * (1 + TAGS_PER_PHOTO)
"""Half floats of two CRFs, for the background and a photo's tags."""
PROBABILITY_BYTES = 0.3
"""Of a compressed half float."""
BLOCK_MIB = 4 / 1024
"""A block of the common file systems: each file takes whole ones."""
WALKED_BYTES = 0.6
"""Size of a walked map's file relative to one before the walk."""


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        seconds: wall clock.
        disk_mib: left in the run folder, MiB; a training also keeps a checkpoint meanwhile, about
            three times its model.
        memory_mib: peak of the process (of the GPU, where there is one), MiB.
    """

    seconds: float
    disk_mib: float
    memory_mib: float


@dataclass(frozen=True)
class PhotoSizes:
    """Sizes (h, w) px of a sample of the photos."""

    sizes: Sequence[tuple[int, int]]

    @property
    def largest(self) -> float:
        """Mpx of the largest photo."""
        return max(h * w for h, w in self.sizes) / 1e6

    def mean(self, cost: Callable[[float], float] = lambda mpx: mpx) -> float:
        """Return the mean of a cost that is a function of the Mpx; default: the mean Mpx."""
        return fmean(cost(h * w / 1e6) for h, w in self.sizes)

    def resized(self, long_side: int | None) -> float:
        """Return the mean Mpx at a long side in px; None: as they are."""
        if long_side is None:
            return self.mean()
        return fmean(long_side**2 * min(size) / max(size) / 1e6 for size in self.sizes)


@dataclass(frozen=True)
class Machine:
    """Processors that a run may use.

    Attributes:
        threads: of the network on a CPU, over all its processes.
        processors: for work outside the network.
        gpus: number of GPUs; 0: none.
    """

    threads: int
    processors: int
    gpus: int

    @classmethod
    def of(cls, settings: RuntimeSettings, *, gpu: bool) -> Machine:
        """Return this machine as the settings use it."""
        threads = settings.threads or omp_threads()
        if threads and not gpu:
            threads *= settings.devices
        return cls(
            max(1, threads or processors()),
            min(processors(), MAX_THREADS),
            settings.devices if gpu else 0,
        )

    def speed(self, gpu: float) -> float:
        """Return the speed relative to two cores, given that of one GPU."""
        return gpu * self.gpus if self.gpus else min(self.threads, 16) / 2

    @property
    def photo_speed(self) -> float:
        """Speed of work on one photo per thread, relative to two cores.

        It gains little from many cores, which share the memory.
        """
        return min(self.processors / 2, 2)


def file_seconds(photos: PhotoSizes, machine: Machine) -> float:
    """Return seconds per photo to read it at its own size and write its maps or features."""
    return photos.mean() * FILE_SECONDS / machine.photo_speed


def crf_cost(
    settings: Crf,
    count: int,
    photos: PhotoSizes,
    machine: Machine,
    *,
    per_photo: int = 1,
    most: float = math.inf,
) -> Cost:
    """Estimate dense CRFs of photos reduced to ``most`` Mpx; a GPU doesn't help."""
    steps = per_photo * settings.iterations * CRF_STEP_SECONDS

    def seconds(mpx: float) -> float:
        mpx = min(mpx, most)
        return mpx * (CRF_SECONDS * math.pow(max(1.0, mpx), 0.7) + steps)

    largest = min(photos.largest, most)
    memory = BASE_MIB + largest * photos_at_once(largest, machine.processors) * CRF_MIB
    return Cost(count * photos.mean(seconds) / machine.processors, 0.0, memory)


def backbone_work(name: str, output_stride: int) -> float:
    """Return a backbone's work per pixel, relative to EfficientNet-Lite0 at stride 16."""
    return WORK.get(name, OTHER_WORK) * STRIDE_WORK.get(output_stride, 1.0)


def cam_work(section: TrainCam) -> float:
    """Return the work per pixel of a CAM network with its heads."""
    backbone = section.backbone
    work = backbone_work(backbone.name, backbone.likely_stride)
    if section.truncate_backbone:
        work = WORK.get(backbone.name, OTHER_WORK) * TRUNCATED_WORK
    if section.pcm.enabled:
        work += PCM_WORK
    if section.head == "mdc":
        cells = (16 / backbone.likely_stride) ** 2
        work += MDC_WORK * cells * len(section.mdc_rates) * section.mdc_channels / 512
    return work


def segmenter_work(section: TrainSegmenter) -> float:
    """Return the work per pixel of labeling photos with a segmentation network."""
    network = section.network
    return backbone_work(network.encoder, network.output_stride) + LABELING_WORK


def segmenter_training_work(section: TrainSegmenter) -> float:
    """Return the work per pixel of training a segmentation network."""
    network = section.network
    backbone = backbone_work(network.encoder, network.output_stride)
    decoder = DECODER_WORK * (network.decoder_channels or 256) / 256
    frozen = FROZEN_WORK[section.freeze_stride] * backbone
    return backbone - frozen + decoder + LOSS_WORK / section.loss_stride**2


def on_disk(file_mib: float) -> float:
    """Return the disk space of files of a mean size, MiB; half of a file's last block is empty."""
    return max(BLOCK_MIB, file_mib + BLOCK_MIB / 2)


def map_mib(photos: PhotoSizes, long_side: int | None, stride: int, dtype: str) -> float:
    """Return the size of a photo's map file; maps of a reduced photo compress better."""
    shrunk = min(1.0, photos.resized(long_side) / photos.mean())
    values = photos.mean() * 1e6 / stride**2 * TAGS_PER_PHOTO * math.pow(shrunk, 0.35)
    return (values * (2 if dtype == "float16" else 1) + 1000) / 2**20


def mask_mib(step: type[Handle], photos: PhotoSizes) -> float:
    """Return the mean size of a mask that a step writes."""
    return photos.mean(math.sqrt) * MASK_MIB[step]


def photos_at_once(mpx: float, threads: int) -> int:
    """Return how many photos of this size are computed side by side."""
    return threads if mpx * 1e6 <= SMALL_PIXELS else 1


def activation_growth(work: float) -> float:
    """Return the growth of activations, far slower than that of the arithmetic."""
    return float(work**0.4)
