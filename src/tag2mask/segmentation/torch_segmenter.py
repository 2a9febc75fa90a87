"""A segmentation network of torch as a `Segmenter`.

On a CPU each calling thread computes its own image with its share of the threads. So the network
never waits while other photos are decoded, resized or written, and the result of an image depends
on no other image. On a GPU the calls run one after the other, each with a batch of images.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from tag2mask.classes import ClassSet
from tag2mask.nn.batch_padding import BatchPadding
from tag2mask.nn.inference_copy import inference_copy, memory_format
from tag2mask.runtime.memory import explain_out_of_memory
from tag2mask.runtime.precision import Precision, autocast
from tag2mask.runtime.threads import MAX_THREADS, processors
from tag2mask.runtime.torch_threads import share_of_threads
from tag2mask.segmentation.deeplab_v1 import DeepLabV1
from tag2mask.segmentation.inference.label_loops import Float32
from tag2mask.segmentation.networks import SegmentationNet


class TorchSegmenter:
    """A `Segmenter` that runs a network of torch.

    Args:
        net: the network; it is set to evaluation mode and copied.
        classes: the foreground classes.
        long_side: long side of photos at scale 1 during training, px.
        device: device of the copy.
        precision: precision of the forward pass; see `resolve_precision` for ``auto``.
        caller_threads: threads that will call; None: as many as keep the device busy. On a CPU
            they share torch's current number of threads.
        memory_settings: recipe keys to lower when the memory runs out, for error messages.

    Raises:
        DeviceError: the device has too little memory for the network.
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
        self.takes_any_size = isinstance(net, DeepLabV1)
        self.batched = device.type != "cpu"
        self._threads = torch.get_num_threads()
        self.caller_threads = caller_threads or min(
            processors() if self.batched else self._threads, MAX_THREADS
        )
        self._memory_settings = memory_settings
        with explain_out_of_memory(*memory_settings):
            self._net = inference_copy(net.eval(), device)
        self._device, self._precision = device, precision
        self._lock = threading.Lock()
        self._pad_batch = BatchPadding(device)

    @torch.inference_mode()
    def probabilities(self, images: Float32) -> Float32:
        """See `Segmenter.probabilities`."""
        hint = explain_out_of_memory(*self._memory_settings)
        with hint, self._exclusive_or_shared(), autocast(self._precision, self._device):
            given = self._pad_batch(torch.from_numpy(images).to(self._device)).contiguous(
                memory_format=memory_format(self._device)
            )
            logits = self._net(given)[: len(images)]
            found: Float32 = _softmax(logits.float()).cpu().numpy()
        return found

    def _exclusive_or_shared(self) -> AbstractContextManager[Any]:
        """Return a context with the GPU locked, or with a share of the CPU's threads."""
        return self._lock if self.batched else share_of_threads(self._threads, self.caller_threads)


def _softmax(logits: Tensor) -> Tensor:
    """Compute the softmax over channels; on a CPU it is much faster along contiguous memory."""
    if logits.is_contiguous(memory_format=torch.channels_last):
        return logits.permute(0, 2, 3, 1).softmax(3).permute(0, 3, 1, 2)
    return logits.softmax(1)
