"""Seconds of ``tag2mask predict`` of four small photos, next to importing its libraries alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.measure import Row, side_by_side
from benchmarks.predict_photos import as_onnx, network, write_photos
from tag2mask.errors import PackageError
from tag2mask.segmentation.export import require_onnx

PHOTOS, SIDE = 4, 200
COMMON = ("typer", "rich", "pydantic", "yaml", "numpy", "PIL.Image", "numba", "scipy")
LIBRARIES = {
    "onnx": (*COMMON, "onnxruntime"),
    "torch": (*COMMON, "torch", "torchvision", "timm", "segmentation_models_pytorch"),
}
"""What the command uses, by what runs the network (``tests/cli/test_imports.py``)."""


def with_onnx(*, toy: bool = False) -> Row | str:
    """Compare the command with an exported network."""
    try:
        require_onnx()
    except PackageError as error:
        return error.what
    return _row("onnx", Path("exported"), toy=toy)


def with_torch(*, toy: bool = False) -> Row:
    """Compare the command with a network of torch."""
    return _row("torch", Path("model.safetensors"), toy=toy)


def _row(runs_on: str, model: Path, *, toy: bool) -> Row:
    with TemporaryDirectory(prefix="tag2mask-bench-") as text:
        folder, numbers = Path(text), count()
        for photo in write_photos(folder / "photos", PHOTOS):
            with Image.open(photo.path) as image:
                image.resize((SIDE, SIDE)).save(photo.path)
        as_onnx(*network(), folder)  # writes both
        command = ("-m", "tag2mask", "predict", folder / "photos", "--model", folder / model)
        imports = f"import {', '.join(LIBRARIES[runs_on])}"
        return side_by_side(
            lambda: _python((*command, "--out", folder / f"out-{next(numbers)}")),
            lambda: _python(("-c", imports)),
            seconds=0 if toy else 60,
            most=9,
        )


def _python(arguments: Sequence[str | Path]) -> None:
    subprocess.run((sys.executable, *arguments), check=True, capture_output=True)
