"""Milliseconds from a photo's file to its mask's, by onnxruntime and by torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from skimage import data

from benchmarks.measure import Row, side_by_side
from benchmarks.predict_photos import CPU, as_onnx, network
from tag2mask.data.images import image_size, read_image
from tag2mask.data.masks import write_mask
from tag2mask.errors import PackageError
from tag2mask.recipe.sections import Predict
from tag2mask.segmentation.export import require_onnx
from tag2mask.segmentation.inference.labeling import PhotoLabeler
from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter
from tag2mask.segmentation.inference.segmenter import Segmenter
from tag2mask.segmentation.torch_segmenter import TorchSegmenter
from tag2mask.steps.predict import segmentation_settings

SIZES = {"0.2": (516, 387), "2": (1632, 1224), "5": (2592, 1944)}
"""(w, h) of the photos by their megapixels."""


def milliseconds(megapixels: str, threads: int, *, toy: bool = False) -> Row | str:
    """Compare the time of one photo: read, resize, forward, label, write."""
    try:
        require_onnx()
    except PackageError as error:
        return error.what
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with TemporaryDirectory() as folder:
            row = _row(Path(folder), SIZES[megapixels], threads, seconds=0 if toy else 20)
    finally:
        torch.set_num_threads(before)
    return Row(row.ratio, 1000 * row.ours, 1000 * row.other, "ms")


def _row(folder: Path, size: tuple[int, int], threads: int, *, seconds: float) -> Row:
    photo = folder / "photo.jpg"
    Image.fromarray(data.astronaut()).resize(size, Image.Resampling.BICUBIC).save(photo, quality=92)
    net, bf16 = network()
    as_onnx(net, bf16, folder)
    file = folder / "exported" / "model.onnx"
    by_onnx = OnnxSegmenter.open(file, threads=threads, caller_threads=1)
    by_torch = TorchSegmenter(net, bf16.classes, bf16.long_side, CPU, "32", caller_threads=1)
    return side_by_side(
        mask_writer(by_onnx, photo, folder / "onnx.png"),
        mask_writer(by_torch, photo, folder / "torch.png"),
        seconds=seconds,
    )


def mask_writer(segmenter: Segmenter, photo: Path, mask: Path) -> Callable[[], None]:
    """Return what reads a photo, labels it and writes its mask."""
    labeler = PhotoLabeler(segmenter, segmentation_settings(Predict(), segmenter))

    def write() -> None:
        size = image_size(photo)
        image = read_image(photo, at_least=labeler.decode_at(size))
        write_mask(mask, labeler(image, size).labels, segmenter.classes.colors)

    return write
