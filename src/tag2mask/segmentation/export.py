"""Export of segmentation networks to ONNX and to torch's exported programs (``.pt2``).

Both are made from one ``torch.export`` of the network, with dynamic batch, height and width. The
output of a file is then compared with the network for several sizes and batches, because an
exporter may fix a size or convert an operation wrongly without an error.

References:
    torch.export, https://docs.pytorch.org/docs/stable/export.html
    Exporter to ONNX, https://docs.pytorch.org/docs/stable/onnx.html
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

from tag2mask.errors import ExportError, PackageError, Tag2MaskError, first_line
from tag2mask.nn.inference_copy import plain_copy
from tag2mask.segmentation.inference.export_spec import IMAGE, LOGITS
from tag2mask.segmentation.inference.label_loops import Float32
from tag2mask.segmentation.networks import SegmentationNet

TOLERANCE = 1e-3
"""Largest allowed difference of logits, absolute and relative."""
OPSET = 18
"""ONNX operator set that torch's exporter writes without conversion; supported since onnxruntime
1.14."""
SMALLEST = 64
"""Smallest side of an exported program's images, px: tracing specializes a map of one cell to maps
that always have one cell, and encoders have strides of up to 32."""
MAX_BYTES = 2**31 - 1
"""Largest size of an ONNX file, weights included: the limit of protobuf."""

_FIX = "Try another --format, or another train_segmenter.network, such as deeplabv3plus."

Shape = tuple[int, int, int]
"""(b, h, w) of images."""


def exported_program(net: SegmentationNet) -> torch.export.ExportedProgram:
    """Trace a network with dynamic batch, height and width.

    Args:
        net: network in evaluation mode, on the CPU.

    Raises:
        ExportError: the network has an operation that can't be traced with dynamic sizes.
    """
    multiple, dim = net.size_multiple, torch.export.Dim
    least = smallest_side(net) // multiple
    shapes = {
        0: dim("batch", min=1),
        2: multiple * dim("rows", min=least),
        3: multiple * dim("columns", min=least),
    }
    # Unusual sides: a side equal to a constant of the network would be traced as that constant.
    example = torch.zeros(2, 3, (least + 5) * multiple, (least + 7) * multiple)
    with _readable_errors("the network can't be traced with dynamic sizes"):
        return torch.export.export(
            plain_copy(net, fixed_padding=True),
            (example,),
            dynamic_shapes={IMAGE: shapes},
            strict=False,
        )


def torch_bytes(program: torch.export.ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """Serialize an exported program for ``torch.export.load`` (a ``.pt2`` file).

    Args:
        program: the network.
        metadata: text by name, which ``torch.export.load`` returns in ``extra_files``.
    """
    content = io.BytesIO()
    torch.export.save(program, content, extra_files=dict(metadata))
    return content.getvalue()


def require_onnx() -> None:
    """Check that the packages to write and run ONNX files are installed.

    Raises:
        PackageError: onnx, onnxscript or onnxruntime isn't installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise PackageError(
                f"ONNX needs the package {package}, which is not installed",
                fix="Install the extra onnx (pip install '.[onnx]' in the project's folder), or "
                "export with --format torch.",
            )


def onnx_bytes(program: torch.export.ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """Convert an exported program to an ONNX file with input ``image`` and output ``logits``.

    Args:
        program: the network.
        metadata: text by name, stored in the file's metadata.

    Raises:
        ExportError: ONNX lacks an operation, or the weights take more than 2 GiB.
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
    del model.graph.value_info[:]  # shapes of intermediate values, with the tracer's names
    onnx.helper.set_model_props(model, dict(metadata))
    if model.ByteSize() > MAX_BYTES:
        raise ExportError(
            f"the network takes {model.ByteSize() / 2**30:.1f} GiB; an ONNX file can hold 2",
            fix="Use --format torch.",
        )
    content: bytes = model.SerializeToString()
    return content


def with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return an ONNX file with other metadata."""
    import onnx

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, dict(metadata))
    changed: bytes = model.SerializeToString()
    return changed


def largest_difference(
    net: SegmentationNet, exported: Callable[[Float32], Float32], shapes: Sequence[Shape]
) -> float:
    """Compare the logits of an exported network with those of the network, on random images.

    Args:
        net: network in evaluation mode, on the CPU.
        exported: returns the logits (b, C+1, h, w) of images (b, 3, h, w), float32.
        shapes: (b, h, w) of the images.

    Returns:
        The largest absolute difference of logits.

    Raises:
        ExportError: the exported network fails at a size, or a logit differs by more than
            `TOLERANCE`.
    """
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch, height, width in shapes:
        images = torch.randn(batch, 3, height, width, generator=generator)
        size = f"{batch} images of {width}x{height} px"
        with torch.inference_mode():
            expected = net(images).numpy()
        with _readable_errors(f"the exported network fails for {size}"):
            found = exported(images.numpy())
        if found.shape != expected.shape:
            raise ExportError(
                f"the exported network gives logits {found.shape} for {size}, not {expected.shape}",
                fix=_FIX,
            )
        difference = float(np.abs(found - expected).max())
        if not np.allclose(found, expected, atol=TOLERANCE, rtol=TOLERANCE):
            raise ExportError(
                "the exported network differs from the network: "
                f"logits for {size} differ by up to {difference:g}",
                fix=_FIX,
            )
        largest = max(largest, difference)
    return largest


def smallest_side(net: SegmentationNet) -> int:
    """Return the smallest side of images for a network's exported program, px."""
    return max(2, -(-SMALLEST // net.size_multiple)) * net.size_multiple


def shapes_to_check(net: SegmentationNet, long_side: int, smallest: int) -> tuple[Shape, ...]:
    """Return the shapes to compare: the smallest, wide and tall ones, and a photo at scale 1.

    Args:
        net: the network.
        long_side: long side of photos at scale 1 during training, px.
        smallest: smallest side, px.
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
    """Convert exceptions of an exporter or runtime into one-line errors; hide its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Tag2MaskError, MemoryError):
        raise
    # Each layer of torch's exporters wraps exceptions in its own; the first cause is the clearest.
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = first_line(cause).partition(" For more information")[0][:200]
        raise ExportError(f"{what} ({reason})", fix=_FIX) from error
