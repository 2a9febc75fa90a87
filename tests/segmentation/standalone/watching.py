"""Scenes for tests of watched folders, for both programs."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from local_segmenter import colorful
from onnx_file import SPEC, write_network
from small_runs import command, environment
from tag2mask.metrics.class_rule import ClassRule
from tag2mask.segmentation.inference.export_spec import KEY, DecisionRule
from tag2mask.segmentation.standalone import joined_source

BLOCKED = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"numpy", "PIL", "onnxruntime", *sys.stdlib_module_names}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program that can import nothing but the three packages it needs."""
RULE = DecisionRule(
    classes={
        name: ClassRule(area, 0.2, 0.1, 40, 1, 40, 2)
        for name, area in (("red", 0.05), ("blue", 0.45))
    },
    units="groups",
    temperature=1.5,
    temperature_from="tags",
    group="(.*)_[^_/]*",
)


def write_export(
    folder: Path,
    *,
    rule: DecisionRule | None = None,
    width: int | str = "width",
    **settings: Any,
) -> Path:
    """Write an exported folder as `export` does; the network's classes are the colors."""
    folder.mkdir()
    spec = replace(SPEC, predict=replace(SPEC.predict, **settings), decisions=rule)
    write_network(folder / "model.onnx", metadata={KEY: spec.to_json()}, width=width)
    (folder / "predict.py").write_text(joined_source())
    return folder


def alone(exported: Path, *arguments: str | Path) -> list[str]:
    """Return the command line of the exported program, without tag2mask and torch."""
    program = [sys.executable, "-I", "-c", BLOCKED, exported / "predict.py", *arguments]
    return [str(word) for word in program]


def with_tag2mask(exported: Path, *arguments: str | Path) -> list[str]:
    return command("predict", *arguments, "--model", exported)


PROGRAMS: dict[str, Callable[..., list[str]]] = {"alone": alone, "tag2mask": with_tag2mask}


def run(line: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, capture_output=True, text=True, check=False, timeout=120, env=environment()
    )


def put(path: Path, seed: int, color: tuple[int, int, int] | None = None) -> None:
    """Write a photo as a camera does: under its final name, in one go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(colorful(40, 60, seed))
    if color is not None:
        image = Image.new("RGB", (60, 40), color)
    image.save(path)


@contextmanager
def watching(line: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program during the block; it is killed if the block leaves it running."""
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "not reached"
        time.sleep(0.02)


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Send SIGTERM; return exit code, output and errors."""
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    return process.returncode, out, errors


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as content:
        return list(csv.DictReader(content))


def mask_names(out: Path) -> set[str]:
    """Return the names of the masks; a killed program may leave a hidden temporary file."""
    found = (out / "masks").rglob("*.png")
    return {p.relative_to(out / "masks").as_posix() for p in found if not p.name.startswith(".")}
