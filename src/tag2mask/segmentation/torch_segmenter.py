"""A segmentation network of torch as the `Segmenter` that photos are labeled with.

On a CPU each calling thread computes one image by itself: decoding, resizing and writing of other
photos never make a network's threads wait for each other, and an image's result depends on nothing
but the image. On a GPU one call computes at a time, with as many images as it is given.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from tag2mask.classes import ClassSet
from tag2mask.nn.batch_padding import BatchPadding
from tag2mask.nn.inference_copy import inference_copy, memory_format
from tag2mask.runtime.precision import Precision, resolve_precision
from tag2mask.runtime.session import explain_out_of_memory, share_of_threads
from tag2mask.runtime.threads import MAX_THREADS, processors
from tag2mask.segmentation.inference.label_loops import Float32
from tag2mask.segmentation.networks import SegmentationNet


class TorchSegmenter:
    """A network that gives probabilities; see `Segmenter` for attributes and method.

    Args:
        net: set to evaluation mode and copied; what becomes of it later makes no difference.
        classes: the foreground classes.
        long_side: the photo's long side at scale 1 when it was trained, px.
        device: where to compute.
        precision: of the forward pass; see `resolve_precision` for auto.
        caller_threads: threads that will call; None: as many as keep the device busy. On a CPU
            they share torch's current number of threads.
        memory_settings: of the recipe, to lower where the memory doesn't suffice.

    Raises:
        DeviceError: the device has no memory for the network.
    """

    def __init__(
        self,
        net: SegmentationNet,
        classes: ClassSet,
        long_side: int,
        device: torch.device,
        precision: Precision = "auto",
        *,
        caller_threads: int | None = None,
        memory_settings: tuple[str, ...] = ("predict.batch_size", "predict.tile"),
    ) -> None:
        self.classes, self.long_side = classes, long_side
        self.mean, self.std = net.mean, net.std
        self.size_multiple = net.size_multiple
        self.batched = device.type != "cpu"
        self._threads = torch.get_num_threads()
        self.caller_threads = caller_threads or min(
            processors() if self.batched else self._threads, MAX_THREADS
        )
        self._memory_settings = memory_settings
        with explain_out_of_memory(*memory_settings):
            self._net = inference_copy(net.eval(), device)
        self._device = device
        self._dtype = resolve_precision(precision, device)
        self._alone = threading.Lock()
        self._fill = BatchPadding(device)

    @torch.inference_mode()
    def probabilities(self, images: Float32) -> Float32:
        """See `Segmenter.probabilities`."""
        hint = explain_out_of_memory(*self._memory_settings)
        with hint, self._turn(), self._autocast():
            given = self._fill(torch.from_numpy(images).to(self._device)).contiguous(
                memory_format=memory_format(self._device)
            )
            logits = self._net(given)[: len(images)]
            found: Float32 = _softmax(logits.float()).cpu().numpy()
        return found

    def _turn(self) -> AbstractContextManager[Any]:
        """Of a caller: the device for itself, or its share of the processors."""
        return self._alone if self.batched else share_of_threads(self._threads, self.caller_threads)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)


def _softmax(logits: Tensor) -> Tensor:
    """Over the channels; on a CPU several times faster along memory than across it."""
    if logits.is_contiguous(memory_format=torch.channels_last):
        return logits.permute(0, 2, 3, 1).softmax(3).permute(0, 3, 1, 2)
    return logits.softmax(1)
