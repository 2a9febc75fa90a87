"""Floating point precision of the forward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["auto", "32", "bf16", "16"]


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype of the forward pass.

    bf16 is native on CUDA from Ampere on and on CPUs with AVX512-BF16 or AMX; elsewhere it is
    emulated and slower than float32, so ``auto`` doesn't choose it there.
    """
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if native else torch.float32
        return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else torch.float32
    return {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}[precision]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Return the mixed precision context of the forward pass; see `resolve_precision`."""
    dtype = resolve_precision(precision, device)
    return nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype=dtype)


def cpu_has_bf16() -> bool:
    """Return whether the CPU multiplies bf16 natively."""
    check: Callable[[], bool] | None = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check()) if check is not None else False
