"""A small ONNX file written without torch; its classes are the colors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tag2mask.classes import ClassSet
from tag2mask.segmentation.inference.export_spec import (
    FORMAT,
    IMAGE,
    KEY,
    LOGITS,
    ExportedSpec,
    LabelingRecord,
)

CLASSES = ClassSet(("red", "green", "blue"))
SPEC = ExportedSpec(
    format=FORMAT,
    tag2mask="0.1.0",
    classes=CLASSES.names,
    colors=CLASSES.colors,
    mean=(0.4, 0.5, 0.3),
    std=(0.2, 0.3, 0.25),
    size_multiple=8,
    long_side=64,
    architecture="unet",
    encoder="by hand",
    output_stride=8,
    precision="float32",
    predict=LabelingRecord("default", 64, (1.0,), False, 1024, 128),
    decisions=None,
)


def network(
    metadata: dict[str, str] | None = None,
    *,
    opset: int = 18,
    version: int = 10,
    width: int | str = "width",
) -> Any:
    """Logits: 0 for the background, else three times the color; sides are multiples of 8."""
    weight = 3 * np.eye(4, 3, k=-1, dtype=np.float32)[:, :, None, None]
    sides: list[Any] = ["batch", 3, "height", width]
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", [IMAGE], ["cells"], kernel_shape=[8, 8], strides=[8, 8]
            ),
            helper.make_node("Conv", ["cells", "weight"], ["scores"]),
            helper.make_node("Resize", ["scores", "", "scales"], [LOGITS], mode="nearest"),
        ],
        "colors",
        [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [sides[0], 4, *sides[2:]])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array([1, 1, 8, 8], np.float32), "scales"),
        ],
    )
    model = helper.make_model(
        graph, ir_version=version, opset_imports=[helper.make_opsetid("", opset)]
    )
    helper.set_model_props(model, {KEY: SPEC.to_json()} if metadata is None else metadata)
    return model


def write_network(path: Path, **options: Any) -> Path:
    """The same as a file."""
    onnx.save(network(**options), path)
    return path
