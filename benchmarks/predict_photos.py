"""Time of ``predict`` for many photos, compared with the network's forward pass alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from benchmarks.bare_networks import encoder_weights
from benchmarks.measure import Row, side_by_side
from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.data.images import read_image
from tag2mask.data.photo_files import PhotoFile, list_photos
from tag2mask.errors import PackageError
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.sections import Predict
from tag2mask.runtime.precision import autocast
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.ranks import OneProcess
from tag2mask.segmentation.export import require_onnx
from tag2mask.segmentation.inference.label_loops import Float32
from tag2mask.segmentation.inference.labeling import PhotoLabeler
from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter
from tag2mask.segmentation.inference.segmenter import Segmenter
from tag2mask.segmentation.networks import SegmentationNet, build_segmenter, save_segmenter
from tag2mask.segmentation.torch_segmenter import TorchSegmenter
from tag2mask.steps.export import export
from tag2mask.steps.predict import predict, segmentation_settings
from tag2mask.steps.trainers.segmenter_task import segmenter_spec

PHOTOS = 320
SIZES = ((500, 375), (500, 375), (375, 500), (500, 333))
"""(w, h) of the photos, typical of VOC."""
CPU = torch.device("cpu")


def vs_forward(*, toy: bool = False) -> Row:
    """Compare reading, resizing, forward, labeling and writing with a loop of the forward pass."""
    with TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos", 4 if toy else PHOTOS)
        net, segmenter = network()
        images, numbers = network_inputs(photos, segmenter), count()

        def ours() -> None:
            predict(
                photos,
                segmenter,
                Predict(),
                Path(folder) / f"out-{next(numbers)}",
                model="random",
                ranks=_Silent(),
            )

        def other() -> None:
            for image in images:
                forward(net, image)

        return side_by_side(ours, other, seconds=0 if toy else 60)


def onnx_vs_torch(*, toy: bool = False) -> Row | str:
    """Compare onnxruntime with torch: float32, all cores, images in memory."""
    try:
        require_onnx()
    except PackageError as error:
        return error.what
    with TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos", 4 if toy else PHOTOS // 8)
        net, bf16 = network()
        images = [image.numpy() for image in network_inputs(photos, bf16)]
        torch_segmenter = TorchSegmenter(net, bf16.classes, bf16.long_side, CPU, "32")
        onnx_segmenter = as_onnx(net, bf16, Path(folder))
        return side_by_side(
            lambda: label_all(onnx_segmenter, images),
            lambda: label_all(torch_segmenter, images),
            seconds=0 if toy else 30,
        )


def as_onnx(net: SegmentationNet, segmenter: Segmenter, folder: Path) -> OnnxSegmenter:
    """Export the network to ONNX and open it."""
    spec = segmenter_spec(load_recipe("lite0-cpu").train_segmenter, segmenter.classes)
    save_segmenter(folder / "model.safetensors", net, spec)
    export(folder / "model.safetensors", ("onnx",), folder / "exported")
    return OnnxSegmenter.open(folder / "exported" / "model.onnx", threads=torch.get_num_threads())


def label_all(segmenter: Segmenter, images: Sequence[Float32]) -> list[Float32]:
    """Return the probabilities of all images, computed with the threads that ``predict`` uses."""
    with ThreadPoolExecutor(segmenter.caller_threads) as pool:
        return list(pool.map(segmenter.probabilities, images))


def write_photos(folder: Path, number: int) -> list[PhotoFile]:
    """Write JPEGs of 500 px: crops of scikit-image's photos."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    sources = [
        Image.fromarray(source)
        for source in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())
    ]
    for index in range(number):
        source, size = sources[index % len(sources)], SIZES[index // 4 % len(SIZES)]
        left, top = (int(rng.integers(0, side // 4)) for side in source.size)
        part = (left, top, left + source.width * 3 // 4, top + source.height * 3 // 4)
        photo = source.resize(size, Image.Resampling.BICUBIC, part)
        photo.save(folder / f"{index:04}.jpg", quality=92)
    return list_photos([folder])


def network() -> tuple[SegmentationNet, TorchSegmenter]:
    """Return the default recipe's network: encoder with ImageNet weights, decoder random."""
    section, classes = load_recipe("lite0-cpu").train_segmenter, ClassSet(VOC_NAMES)
    torch.manual_seed(0)
    spec = segmenter_spec(section, classes)
    net = build_segmenter(spec, weights=encoder_weights(section)).eval()
    net = net.to(memory_format=torch.channels_last)
    return net, TorchSegmenter(net, classes, spec.long_side, CPU)


def network_inputs(photos: Sequence[PhotoFile], segmenter: Segmenter) -> list[Tensor]:
    """Return the network's inputs for the photos, one by one."""
    recorder = _InputRecorder(segmenter)
    labeler = PhotoLabeler(recorder, segmentation_settings(Predict(), segmenter))
    for photo in photos:
        labeler(read_image(photo.path))
    return recorder.images


@torch.inference_mode()
def forward(net: SegmentationNet, image: Tensor) -> Tensor:
    """Return the network's logits, in the precision of the segmenter."""
    with autocast("auto", CPU):
        logits: Tensor = net(image)
    return logits


class _InputRecorder:
    """A segmenter that stores its inputs instead of running a network."""

    caller_threads, batched = 1, False

    def __init__(self, segmenter: Segmenter) -> None:
        self.classes, self.long_side = segmenter.classes, segmenter.long_side
        self.mean, self.std = segmenter.mean, segmenter.std
        self.size_multiple = segmenter.size_multiple
        self.takes_any_size = segmenter.takes_any_size
        self.images: list[Tensor] = []

    def probabilities(self, images: Float32) -> Float32:
        self.images.append(torch.from_numpy(images.copy(order="K")))
        return np.zeros((len(images), len(self.classes) + 1, *images.shape[2:]), np.float32)


class _Silent(OneProcess):
    """One process without a progress bar."""

    def progress(
        self, total: int, description: str, *, done: int = 0, only_if_long: bool = False
    ) -> ProgressBar:
        return ProgressBar(total, description, done=done, silent=True)
