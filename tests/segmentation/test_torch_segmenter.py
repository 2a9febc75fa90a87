"""Networks of torch: probabilities, threads, precision and memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from toy_backbone import PointwiseBackbone, random

from local_segmenter import colorful
from tag2mask.classes import ClassSet
from tag2mask.errors import DeviceError
from tag2mask.nn.batch_padding import BatchPadding
from tag2mask.segmentation.deeplab_v1 import DeepLabV1
from tag2mask.segmentation.inference.labeling import SINGLE_VIEW, PhotoLabeler, PhotoViews
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter
from tag2mask.segmentation.torch_segmenter import TorchSegmenter, _softmax

CPU = torch.device("cpu")
CLASSES = ClassSet(("cat", "dog"))


class Toy(nn.Module):
    """One convolution that records the number of threads in use."""

    mean, std, size_multiple = (0.4, 0.5, 0.3), (0.2, 0.3, 0.25), 4
    threads: ClassVar[set[int]] = set()
    """Shared by its copies."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.threads.clear()

    def forward(self, image: Tensor) -> Tensor:
        self.threads.add(torch.get_num_threads())
        return self.conv(image)


def images_of(*seeds: int) -> np.ndarray:
    """Return images float32 (b, 3, 16, 24), channels last in memory."""
    pixels = np.stack([colorful(16, 24, seed) for seed in seeds])
    return (pixels / np.float32(128) - 1).astype(np.float32).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("channels_last", [True, False])
def test_probabilities_are_the_softmax_of_the_network(channels_last: bool) -> None:
    net = Toy()
    segmenter = TorchSegmenter(net, CLASSES, 64, CPU, "32")  # type: ignore[arg-type]
    images = images_of(0, 1)
    given = images if channels_last else np.ascontiguousarray(images)
    found = segmenter.probabilities(given)
    with torch.no_grad():
        expected = net(torch.from_numpy(np.ascontiguousarray(images))).softmax(1).numpy()
    assert found.dtype == np.float32 and found.shape == (2, 3, 16, 24)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (segmenter.mean, segmenter.std) == (net.mean, net.std)
    assert (segmenter.size_multiple, segmenter.long_side, segmenter.classes) == (4, 64, CLASSES)
    assert not segmenter.batched


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_softmax_is_over_the_classes_in_any_memory_layout(layout: torch.memory_format) -> None:
    logits = random(2, 3, 4, 5)
    found = _softmax(logits.contiguous(memory_format=layout))
    torch.testing.assert_close(found, logits.softmax(1))


def test_network_is_copied() -> None:
    net = Toy()
    segmenter = TorchSegmenter(net, CLASSES, 64, CPU, "32")  # type: ignore[arg-type]
    before = segmenter.probabilities(images_of(0))
    with torch.no_grad():
        net.conv.weight += 1
    np.testing.assert_array_equal(segmenter.probabilities(images_of(0)), before)
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [4], indirect=True)
@pytest.mark.usefixtures("threads")
def test_callers_share_the_threads_and_restore_them() -> None:
    net = Toy()
    segmenter = TorchSegmenter(net, CLASSES, 64, CPU, "32", caller_threads=2)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(segmenter.probabilities, [images_of(seed) for seed in range(20)]))
        assert set(pool.map(lambda _: torch.get_num_threads(), range(9))) == {4}
    assert net.threads == {2}
    assert torch.get_num_threads() == 4
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 4


@pytest.mark.parametrize("threads", [4], indirect=True)
@pytest.mark.usefixtures("threads")
def test_single_caller_uses_all_threads() -> None:
    net = Toy()
    TorchSegmenter(net, CLASSES, 64, CPU, "32", caller_threads=1).probabilities(  # type: ignore[arg-type]
        images_of(0)
    )
    assert net.threads == {4}
    assert TorchSegmenter(net, CLASSES, 64, CPU, "32").caller_threads == 4  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [2], indirect=True)  # 4 threads and 2 sum in another order
@pytest.mark.usefixtures("threads")
def test_labels_are_bit_identical_for_any_number_of_photos_and_callers() -> None:
    torch.manual_seed(0)
    spec = SegmenterSpec(("cat", "dog"), "unet", "test_efficientnet", 32, 64, decoder_channels=None)
    net = build_segmenter(spec)
    one, two = (TorchSegmenter(net, CLASSES, 64, CPU, "32", caller_threads=n) for n in (1, 2))
    photos = [colorful(48, 64, seed) for seed in range(4)]
    settings = replace(SINGLE_VIEW, long_side=64, confidence="float32", probabilities=True)

    def views(labeler: PhotoLabeler) -> list[PhotoViews]:
        return [labeler.views(Image.fromarray(photo), (48, 64)) for photo in photos]

    alone, shared = PhotoLabeler(one, settings), PhotoLabeler(two, settings)
    expected = [alone.label([view])[0] for view in views(alone)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda view: shared.label([view])[0], views(shared)))
    for left, right, pair in zip(expected, found, alone.label(views(alone)), strict=True):
        for other in (right, pair):
            np.testing.assert_array_equal(left.labels, other.labels)
            np.testing.assert_array_equal(left.confidence, other.confidence)


def test_half_precision_is_close() -> None:
    net = Toy()
    exact = TorchSegmenter(net, CLASSES, 64, CPU, "32").probabilities(  # type: ignore[arg-type]
        images_of(0)
    )
    half = TorchSegmenter(net, CLASSES, 64, CPU, "bf16").probabilities(  # type: ignore[arg-type]
        images_of(0)
    )
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, exact, atol=0.02)
    assert (half != exact).any()
    np.testing.assert_allclose(half.sum(axis=1), 1, atol=1e-5)


def test_batched_device_runs_one_call_at_a_time() -> None:
    """A CPU that behaves like a GPU."""
    inside, most = 0, []

    class Slow(Toy):
        def forward(self, image: Tensor) -> Tensor:
            nonlocal inside
            inside += 1
            most.append(inside)
            threading.Event().wait(0.01)
            inside -= 1
            return super().forward(image)

    segmenter = TorchSegmenter(Slow(), CLASSES, 64, CPU, "32", caller_threads=4)  # type: ignore[arg-type]
    for batched, allowed in ((True, {1}), (False, {1, 2, 3, 4})):
        most.clear()
        segmenter.batched = batched
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(segmenter.probabilities, [images_of(0)] * 12))
        assert set(most) <= allowed
    assert max(most) > 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_names_the_settings_to_lower(error: Exception) -> None:
    class OutOfMemory(Toy):
        def forward(self, image: Tensor) -> Tensor:
            raise error

    segmenter = TorchSegmenter(OutOfMemory(), CLASSES, 64, CPU, "32", caller_threads=2)  # type: ignore[arg-type]
    before = torch.get_num_threads()
    with pytest.raises(DeviceError, match=r"Lower predict\.batch_size or predict\.tile"):
        segmenter.probabilities(images_of(0))
    assert torch.get_num_threads() == before
    own = TorchSegmenter(
        OutOfMemory(),
        CLASSES,
        64,
        CPU,
        "32",  # type: ignore[arg-type]
        memory_settings=("train_segmenter.long_side",),
    )
    with pytest.raises(DeviceError, match=r"memory\. Lower train_segmenter\.long_side\."):
        own.probabilities(images_of(0))


def test_out_of_memory_while_copying() -> None:
    class Large(Toy):
        def to(self, *_: Any, **__: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceError, match=r"the GPU ran out of memory\. Lower predict"):
        TorchSegmenter(Large(), CLASSES, 64, CPU, "32")  # type: ignore[arg-type]


def test_padded_batch_gives_the_same_result() -> None:
    segmenter = TorchSegmenter(Toy(), CLASSES, 64, CPU, "32")  # type: ignore[arg-type]
    expected = segmenter.probabilities(images_of(0, 1, 2))
    segmenter._pad_batch = BatchPadding(torch.device("cuda"))  # as on a GPU
    found = segmenter.probabilities(images_of(0, 1, 2))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_result() -> None:
    net = Toy()
    expected = TorchSegmenter(net, CLASSES, 64, CPU, "32").probabilities(  # type: ignore[arg-type]
        images_of(0, 1)
    )
    segmenter = TorchSegmenter(net, CLASSES, 64, torch.device("cuda"), "32")  # type: ignore[arg-type]
    assert segmenter.batched
    np.testing.assert_allclose(segmenter.probabilities(images_of(0, 1)), expected, atol=1e-3)


@pytest.mark.parametrize("size", [(61, 90), (64, 48)])
@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((0.5, 1.0, 1.75), True)])
def test_published_prediction_averages_logits(
    size: tuple[int, int], scales: tuple[float, ...], flip: bool
) -> None:
    """Transcribe ``collect_func`` of the authors' ``test.py``: logits at the photo's size."""
    torch.manual_seed(0)
    net = DeepLabV1(PointwiseBackbone(8, size_multiple=8), 2).eval()
    nn.init.normal_(net.cls_conv.weight, std=0.3)  # probabilities that differ from equal ones
    photo = Image.fromarray(colorful(*size))
    result_list = []
    for rate in scales:
        height, width = (round(side * rate) for side in size)
        view = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC)) / 255
        image = torch.from_numpy((view - net.mean) / net.std).float().permute(2, 0, 1)[None]
        for turned in (False, True) if flip else (False,):
            with torch.no_grad():
                result = net(torch.flip(image, [3]) if turned else image)
            result = F.interpolate(result, size, mode="bilinear", align_corners=True)
            result_list.append(torch.flip(result, [3]) if turned else result)
    expected = torch.cat(result_list).mean(dim=0).softmax(dim=0)
    segmenter = TorchSegmenter(net, CLASSES, 64, CPU, "32")
    settings = replace(SINGLE_VIEW, scales=scales, flip=flip, confidence="float32", published=True)
    found = PhotoLabeler(segmenter, settings)(photo)
    np.testing.assert_allclose(found.confidence, expected.amax(dim=0).numpy(), atol=1e-5)
    chosen = expected.gather(0, torch.from_numpy(found.labels)[None].long())[0]
    torch.testing.assert_close(chosen, expected.amax(dim=0), atol=1e-5, rtol=0)
    default = PhotoLabeler(segmenter, replace(settings, published=False))(photo)
    different = len(scales) > 1 or size == (61, 90)  # else there is nothing to average or to pad
    assert np.allclose(default.confidence, found.confidence, atol=1e-4) is not different
