"""Segmentation networks as files for other runtimes: ONNX, and torch's own exported programs.

Both come from one ``torch.export`` of the network as plain layers, with batch, height and width
left open. What a file computes is then held to the network itself, at several sizes and batches:
an exporter that fixes a size, or gets an operation wrong, is found out before the file is used.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch

from tag2mask.errors import ExportError, PackageError, Tag2MaskError
from tag2mask.nn.inference_copy import plain_copy
from tag2mask.segmentation.inference.export_spec import IMAGE, LOGITS
from tag2mask.segmentation.inference.label_loops import Float32
from tag2mask.segmentation.networks import SegmentationNet

TOLERANCE = 1e-3
"""Of the logits, absolute and relative."""
OPSET = 18
"""Of ONNX: what torch's exporter writes without a conversion; onnxruntime reads it since 1.14."""
SMALLEST = 64
"""Least side of an exported program's images, px: tracing takes a map of a single cell for one that
never has more, and encoders have strides of up to 32."""
MOST_BYTES = 2**31 - 1
"""Of a file of ONNX, weights included."""

_OTHERWISE = "Another --format may do, or another train_segmenter.network, such as deeplabv3plus."

Shape = tuple[int, int, int]
"""(b, h, w) of images."""


def exported_program(net: SegmentationNet) -> torch.export.ExportedProgram:
    """Trace a network with batch, height and width left open.

    Args:
        net: in evaluation mode, on the CPU.

    Raises:
        ExportError: the network does something that can't be traced so.
    """
    multiple, dim = net.size_multiple, torch.export.Dim
    least = smallest_side(net) // multiple
    shapes = {
        0: dim("batch", min=1),
        2: multiple * dim("rows", min=least),
        3: multiple * dim("columns", min=least),
    }
    # Sides like no number in a network, or tracing would take the one for the other.
    example = torch.zeros(2, 3, (least + 5) * multiple, (least + 7) * multiple)
    with _readable_errors("the network can't be traced with sizes left open"):
        return torch.export.export(
            plain_copy(net, fixed_padding=True),
            (example,),
            dynamic_shapes={IMAGE: shapes},
            strict=False,
        )


def torch_bytes(program: torch.export.ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """An exported program as a file (``.pt2``) for ``torch.export.load``.

    Args:
        program: the network.
        metadata: text by name, which ``extra_files`` gives back.
    """
    content = io.BytesIO()
    torch.export.save(program, content, extra_files=dict(metadata))
    return content.getvalue()


def require_onnx() -> None:
    """Make sure that networks can be written as ONNX and checked.

    Raises:
        PackageError: onnx, onnxscript or onnxruntime is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise PackageError(
                f"ONNX needs the package {package}, which is not installed",
                fix="pip install 'tag2mask[onnx]', or export with --format torch.",
            )


def onnx_bytes(program: torch.export.ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """An exported program as a file of ONNX, with its input ``image`` and its output ``logits``.

    Args:
        program: the network.
        metadata: text by name, to stand in the file.

    Raises:
        ExportError: an operation that ONNX lacks, or more than 2 GiB of weights.
    """
    import onnx

    with _readable_errors("the network can't be written as ONNX"):
        exported = torch.onnx.export(
            program,
            input_names=[IMAGE],
            output_names=[LOGITS],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert exported is not None
        model = exported.model_proto
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]  # shapes in between, in the tracer's names
    onnx.helper.set_model_props(model, dict(metadata))
    if model.ByteSize() > MOST_BYTES:
        raise ExportError(
            f"the network takes {model.ByteSize() / 2**30:.1f} GiB; a file of ONNX holds 2",
            fix="Use --format torch.",
        )
    content: bytes = model.SerializeToString()
    return content


def largest_difference(
    net: SegmentationNet, exported: Callable[[Float32], Float32], shapes: Sequence[Shape]
) -> float:
    """Hold what a file computes to the network.

    Args:
        net: in evaluation mode, on the CPU.
        exported: gives the logits (b, C+1, h, w) of images (b, 3, h, w).
        shapes: of the images that both are shown.

    Returns:
        The largest absolute difference of two logits.

    Raises:
        ExportError: the file refuses a size, or a logit differs by more than `TOLERANCE`.
    """
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch, height, width in shapes:
        images = torch.randn(batch, 3, height, width, generator=generator)
        size = f"{batch} images of {width}x{height} px"
        with torch.inference_mode():
            wanted = net(images).numpy()
        with _readable_errors(f"the exported network refuses {size}"):
            found = exported(images.numpy())
        if found.shape != wanted.shape:
            raise ExportError(
                f"the exported network gives logits {found.shape} of {size}, not {wanted.shape}",
                fix=_OTHERWISE,
            )
        difference = float(np.abs(found - wanted).max())
        if not np.allclose(found, wanted, atol=TOLERANCE, rtol=TOLERANCE):
            raise ExportError(
                "the exported network computes something else than the network: "
                f"logits of {size} differ by up to {difference:g}",
                fix=_OTHERWISE,
            )
        largest = max(largest, difference)
    return largest


def smallest_side(net: SegmentationNet) -> int:
    """Least side of the images of a network's exported program, px."""
    return max(2, -(-SMALLEST // net.size_multiple)) * net.size_multiple


def shapes_to_check(net: SegmentationNet, long_side: int, smallest: int) -> tuple[Shape, ...]:
    """Several sizes and batches: the smallest, oblong ones, and a photo's at the working size.

    Args:
        net: the network.
        long_side: the photo's long side at scale 1 in training, px.
        smallest: least side, px.
    """
    multiple = net.size_multiple

    def side(pixels: float) -> int:
        return max(smallest, math.ceil(pixels / multiple) * multiple)

    return (
        (1, smallest, smallest),
        (3, side(2 * multiple), side(5 * multiple)),
        (2, side(7 * multiple), side(3 * multiple)),
        (1, side(0.75 * long_side), side(long_side)),
    )


@contextmanager
def _readable_errors(what: str) -> Iterator[None]:
    """Turn whatever an exporter or a runtime objects to into one line; its warnings stay silent."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Tag2MaskError, MemoryError):
        raise
    # Each layer of torch's exporters has exceptions of its own, the first cause says the most.
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = next(iter(str(cause).strip().splitlines()), "") or type(cause).__name__
        reason = reason.partition(" For more information")[0][:200]
        raise ExportError(f"{what} ({reason})", fix=_OTHERWISE) from error
