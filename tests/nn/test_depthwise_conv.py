"""Depthwise convolutions: outputs and gradients equal torch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.nn.depthwise_conv import depthwise_conv


@st.composite
def depthwise_cases(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """Draw (height, width, kernel, stride, dilation, padding) whose output isn't empty."""
    kernel = draw(st.sampled_from([3, 5, 7]))
    dilation = draw(st.sampled_from([1, 1, 2, 3]))
    stride = draw(st.integers(1, 3)) if dilation == 1 else 1
    padding = dilation * draw(st.integers(0, kernel // 2))
    smallest = dilation * (kernel - 1) + 1
    height, width = draw(st.integers(smallest, 20)), draw(st.integers(smallest, 20))
    return height, width, kernel, stride, dilation, padding


@settings(max_examples=25, deadline=None)
@given(depthwise_cases(), st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_outputs_and_gradients_equal_torchs(
    case: tuple[int, int, int, int, int, int], dtype: torch.dtype
) -> None:
    height, width, kernel, stride, dilation, padding = case
    torch.manual_seed(0)
    shapes = (2, 6, height, width), (6, 1, kernel, kernel), (6,)
    inputs = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    expected = F.conv2d(*inputs, stride, padding, dilation, groups=6)
    got = depthwise_conv(*inputs, stride, padding, dilation)
    seed = torch.randn_like(expected)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 4e-2}[dtype]
    pairs = [
        (got, expected),
        *zip(
            torch.autograd.grad(got, inputs, seed),
            torch.autograd.grad(expected, inputs, seed),
            strict=True,
        ),
    ]
    for mine, theirs in pairs:
        assert mine.dtype == dtype
        scale = float(theirs.detach().abs().max()) + 1e-3
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance * scale)


def test_autocast_computes_in_bf16() -> None:
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(4, 1, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = depthwise_conv(x, weight, None, padding=1)
    assert out.dtype == torch.bfloat16
    exact = F.conv2d(x, weight, padding=1, groups=4)
    torch.testing.assert_close(out.float(), exact, atol=0.05, rtol=0.02)
    (wanted,) = torch.autograd.grad(exact.sum(), weight)
    out.float().sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32
    torch.testing.assert_close(weight.grad, wanted, atol=0.2, rtol=0.02)
