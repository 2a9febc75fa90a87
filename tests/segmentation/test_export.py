"""Exported networks: equal logits at all sizes, and errors if they differ."""

from __future__ import annotations

import importlib.util
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toy_backbone import PointwiseBackbone

from onnx_file import network
from tag2mask.errors import DeviceError, ExportError, PackageError
from tag2mask.segmentation.deeplab_v1 import DeepLabV1
from tag2mask.segmentation.export import (
    exported_program,
    largest_difference,
    onnx_bytes,
    require_onnx,
    shapes_to_check,
    smallest_side,
    torch_bytes,
)
from tag2mask.segmentation.inference.export_spec import KEY
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter

TEXT = {KEY: "a specification"}
SHAPES = ((1, 64, 64), (3, 72, 88), (2, 64, 104))
pytestmark = pytest.mark.usefixtures("one_thread")


class Toy(nn.Module):
    """Downsampling, upsampling, and adaptive pooling of two sizes."""

    mean, std, size_multiple = (0.4, 0.5, 0.3), (0.2, 0.3, 0.25), 8

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.pools = nn.ModuleList(nn.AdaptiveAvgPool2d(windows) for windows in (1, 3))

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv(image)
        for pool in self.pools:
            x = x + F.interpolate(pool(x), x.shape[2:], mode="bilinear", align_corners=True)
        return F.interpolate(x, image.shape[2:], mode="bilinear", align_corners=False)


Exported = tuple[Any, torch.export.ExportedProgram]


def program_of(net: Any) -> Exported:
    net = net.eval()
    return net, exported_program(net)


@pytest.fixture(scope="module")
def toy() -> Exported:
    torch.manual_seed(0)
    return program_of(Toy())


@pytest.fixture(scope="module")
def toy_onnx(toy: Exported) -> bytes:
    return onnx_bytes(toy[1], TEXT)


def onnx_logits(content: bytes) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"image": images})[0]


def torch_logits(content: bytes) -> Any:
    network = torch.export.load(io.BytesIO(content)).module()
    return lambda images: network(torch.from_numpy(images)).numpy()


def test_onnx_with_dynamic_sizes(toy: Exported, toy_onnx: bytes) -> None:
    model = onnx.load_from_string(toy_onnx)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == TEXT
    for value, channels in ((model.graph.input[0], 3), (model.graph.output[0], 4)):
        sides = [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        assert sides == ["batch", channels, "height", "width"]
    assert largest_difference(toy[0], onnx_logits(toy_onnx), ((1, 8, 8), *SHAPES)) < 1e-5


def test_torch_program_with_dynamic_sizes(toy: Exported) -> None:
    net, program = toy
    content = torch_bytes(program, TEXT)
    files = {KEY: ""}
    torch.export.load(io.BytesIO(content), extra_files=files)
    assert files == TEXT
    assert largest_difference(net, torch_logits(content), SHAPES) < 1e-5


@pytest.mark.slow
def test_deeplab_v1() -> None:
    torch.manual_seed(0)
    net = DeepLabV1(PointwiseBackbone(8, size_multiple=8), 3)
    nn.init.normal_(net.cls_conv.weight)
    net, program = program_of(net)
    found = onnx_logits(onnx_bytes(program, {}))
    assert largest_difference(net, found, ((1, 8, 8), *SHAPES)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "encoder", "stride"),
    [
        ("deeplabv3plus", "tf_mobilenetv3_small_minimal_100", 16),
        ("unet", "test_resnet", 32),
        ("fpn", "test_convnext", 32),
        ("pspnet", "test_efficientnet", 8),
        ("upernet", "test_efficientnet", 32),
    ],
)
def test_networks_of_the_library(architecture: str, encoder: str, stride: int) -> None:
    torch.manual_seed(0)
    spec = SegmenterSpec(("cat", "dog"), architecture, encoder, stride, 96, decoder_channels=None)
    net, program = program_of(build_segmenter(spec))
    shapes = shapes_to_check(net, 96, net.size_multiple)
    assert largest_difference(net, onnx_logits(onnx_bytes(program, {})), shapes) < 1e-3
    shapes = shapes_to_check(net, 96, smallest_side(net))
    assert largest_difference(net, torch_logits(torch_bytes(program, {})), shapes) < 1e-3


def test_shapes_to_check(toy: Exported) -> None:
    net, _ = toy
    shapes = shapes_to_check(net, 100, 8)
    assert shapes == ((1, 8, 8), (3, 16, 40), (2, 56, 24), (1, 80, 104))
    assert all(min(shape[1:]) >= 64 for shape in shapes_to_check(net, 100, smallest_side(net)))
    net.size_multiple = 48
    assert smallest_side(net) == 96
    net.size_multiple = 8


class LoopOverBatch(Toy):
    """Loops over the photos of a batch."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([super(LoopOverBatch, self).forward(one[None])[0] for one in image])


def test_network_with_a_fixed_batch_size() -> None:
    with pytest.raises(ExportError, match="can't be traced with dynamic sizes") as error:
        program_of(LoopOverBatch())
    assert "deeplabv3plus" in str(error.value) and "\n" not in str(error.value)


def test_operation_that_onnx_lacks() -> None:
    class Spectral(Toy):
        def forward(self, image: Tensor) -> Tensor:
            return super().forward(torch.special.bessel_j0(image))

    _, program = program_of(Spectral())
    with pytest.raises(ExportError, match="can't be written as ONNX"):
        onnx_bytes(program, {})


def test_different_logits_raise(toy: Exported) -> None:
    net, _ = toy

    def right(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(images)).numpy()

    assert largest_difference(net, right, SHAPES) == 0
    assert largest_difference(net, lambda x: right(x) + np.float32(5e-4), SHAPES) == pytest.approx(
        5e-4, rel=1e-2
    )
    for wrong, message in (
        (lambda x: right(x) + np.float32(9e-3) * (x.shape[0] == 2), "2 images .* by up to 0.009"),
        (lambda x: right(x) * np.float32(np.nan), "differs from the network"),
        (lambda x: right(x)[:, :, :-1], r"logits \(1, 4, 63, 64\) for 1 images"),
        (lambda x: right(x)[:1], r"logits \(1, 4, 72, 88\) for 3 images"),
    ):
        with pytest.raises(ExportError, match=message):
            largest_difference(net, wrong, SHAPES)


def test_failure_at_a_size_raises(toy: Exported) -> None:
    def fails(images: np.ndarray) -> np.ndarray:
        raise ValueError("dimension 2 must be 64\nand so on")

    with pytest.raises(
        ExportError, match=r"fails for 1 images of 64x64 px \(dimension 2 must be 64"
    ):
        largest_difference(toy[0], fails, SHAPES)


def test_out_of_memory_is_a_device_error(toy: Exported) -> None:
    def full(images: np.ndarray) -> np.ndarray:
        raise DeviceError("the machine ran out of memory")

    with pytest.raises(DeviceError):
        largest_difference(toy[0], full, SHAPES)


def test_too_large_for_an_onnx_file(toy: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    written = SimpleNamespace(model_proto=network())
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: written)
    monkeypatch.setattr("tag2mask.segmentation.export.MAX_BYTES", 100)
    with pytest.raises(ExportError, match="an ONNX file can hold 2"):
        onnx_bytes(toy[1], {})


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_package(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_onnx()
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "tag2mask.segmentation.export.find_spec",
        lambda name: None if name == package else found(name),
    )
    with pytest.raises(PackageError, match=rf"needs the package {package}, .*install .\.\[onnx\]"):
        require_onnx()


def test_export_is_deterministic(toy: Exported, toy_onnx: bytes) -> None:
    again = exported_program(toy[0])
    assert onnx_bytes(again, TEXT) == toy_onnx
    assert torch_bytes(toy[1], TEXT) == torch_bytes(again, TEXT)
