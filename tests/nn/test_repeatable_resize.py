"""Resizing by matrices: equal to torch in values and gradients; other calls are left to torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tag2mask.nn.repeatable_resize import BilinearByMatrices, repeatable_resizing, resize_bilinear

CPU = torch.device("cpu")
sides = st.integers(1, 12)


def both(maps: Tensor, **options: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return result and gradient of torch's resize, then of the resize by matrices."""
    found = []
    for mode in (None, BilinearByMatrices(CPU)):
        leaf = maps.clone().requires_grad_()
        if mode is None:
            result = F.interpolate(leaf, mode="bilinear", **options)
        else:
            with mode:
                result = F.interpolate(leaf, mode="bilinear", **options)
        (result * torch.linspace(-1, 2, result.numel()).view_as(result)).sum().backward()
        assert leaf.grad is not None
        found += [result.detach(), leaf.grad]
    expected, wanted_gradient, result, gradient = found
    return expected, wanted_gradient, result, gradient


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.booleans())
def test_values_and_gradients_equal_torchs(
    before: tuple[int, int], after: tuple[int, int], align_corners: bool
) -> None:
    maps = torch.randn(2, 3, *before, generator=torch.Generator().manual_seed(0))
    expected, wanted_gradient, result, gradient = both(
        maps, size=after, align_corners=align_corners
    )
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, wanted_gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2.0},
        {"scale_factor": (2.0, 0.5), "align_corners": True},
        {"size": 9},
        {"scale_factor": 1.3},
        {"size": (3, 3), "antialias": True},
    ],
    ids=str,
)
def test_sizes_and_scale_factors(options: dict[str, Any]) -> None:
    expected, wanted_gradient, result, gradient = both(torch.randn(1, 2, 4, 6), **options)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, wanted_gradient, atol=1e-4, rtol=1e-4)


def test_library_modules_are_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Tensor:
        raise AssertionError("torch was called")

    maps = torch.randn(1, 2, 3, 3)
    expected = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=True)(maps)
    resize_bilinear(maps, (12, 12), align_corners=True)  # fills the cache of matrices
    monkeypatch.setattr(torch._C._nn, "upsample_bilinear2d", fail)
    with BilinearByMatrices(CPU):
        found = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=True)(maps)
    torch.testing.assert_close(found, expected)


def test_other_modes_and_dimensions_are_left_to_torch() -> None:
    with BilinearByMatrices(CPU):
        nearest = F.interpolate(torch.arange(4.0).view(1, 1, 2, 2), scale_factor=2)
        line = F.interpolate(torch.arange(3.0).view(1, 1, 3), 5, mode="linear", align_corners=True)
    assert nearest[0, 0, 0].tolist() == [0, 0, 1, 1]
    assert line.flatten().tolist() == [0, 0.5, 1, 1.5, 2]


def test_half_precision_is_kept() -> None:
    maps = torch.rand(1, 2, 5, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = resize_bilinear(maps, (9, 9), align_corners=True)
    assert found.dtype == torch.bfloat16
    expected = F.interpolate(maps.float(), (9, 9), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found, expected.bfloat16())


def test_enabled_only_on_gpus() -> None:
    assert isinstance(repeatable_resizing(torch.device("cuda")), BilinearByMatrices)
    assert not isinstance(repeatable_resizing(torch.device("cpu")), BilinearByMatrices)


def test_other_devices_and_float64_are_left_to_torch() -> None:
    maps = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    with BilinearByMatrices(CPU):
        found = F.interpolate(maps, (6, 6), mode="bilinear")
    assert torch.equal(found, F.interpolate(maps, (6, 6), mode="bilinear"))
    with BilinearByMatrices(torch.device("cuda")):
        found = F.interpolate(maps.float(), (6, 6), mode="bilinear")
    assert torch.equal(found, F.interpolate(maps.float(), (6, 6), mode="bilinear"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gradients_on_a_gpu_are_deterministic() -> None:
    maps = torch.randn(8, 64, 20, 20, device="cuda")
    gradients = []
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with repeatable_resizing(maps.device):
            for _ in range(3):
                leaf = maps.clone().requires_grad_()
                F.interpolate(leaf, (80, 80), mode="bilinear").square().sum().backward()
                gradients.append(leaf.grad)
    finally:
        torch.use_deterministic_algorithms(before)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])
