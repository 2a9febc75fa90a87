"""ONNX networks: probabilities, threads, and files that can't be used."""

from __future__ import annotations

import builtins
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from local_segmenter import colorful
from onnx_file import CLASSES, SPEC, network, write_network
from tag2mask.errors import DeviceError, PackageError, WeightsError
from tag2mask.runtime.threads import processors
from tag2mask.segmentation.inference.export_spec import FORMAT, KEY
from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter
from tag2mask.segmentation.loading import open_segmenter


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("onnx") / "model.onnx")


def images_of(*seeds: int) -> np.ndarray:
    """Return images float32 (b, 3, 16, 24), channels last in memory."""
    pixels = np.stack([colorful(16, 24, seed) for seed in seeds])
    return (pixels / np.float32(128) - 1).astype(np.float32).transpose(0, 3, 1, 2)


def test_specification(file: Path) -> None:
    found = open_segmenter(file)
    assert isinstance(found, OnnxSegmenter)
    assert found.spec == SPEC and found.classes == CLASSES
    assert (found.mean, found.std) == (SPEC.mean, SPEC.std)
    assert (found.size_multiple, found.long_side, found.batched) == (8, 64, False)


@pytest.mark.parametrize("channels_last", [True, False])
def test_probabilities(file: Path, channels_last: bool) -> None:
    images = images_of(0, 1)
    found = OnnxSegmenter.open(file, threads=1).probabilities(
        images if channels_last else np.ascontiguousarray(images)
    )
    cells = images.reshape(2, 3, 2, 8, 3, 8).mean(axis=(3, 5)).repeat(8, 2).repeat(8, 3)
    powers = np.exp(np.concatenate([np.zeros((2, 1, 16, 24)), 3 * cells], axis=1))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), atol=1e-5)


def test_large_logits_stay_finite(file: Path) -> None:
    found = OnnxSegmenter.open(file, threads=1).probabilities(1e6 * images_of(0))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_several_threads_give_the_same_result(file: Path) -> None:
    segmenter = OnnxSegmenter.open(file, threads=4)
    assert segmenter.caller_threads == 4
    batches = [images_of(seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(segmenter.probabilities, batches))
    for one, other in zip(found, map(segmenter.probabilities, batches), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("given", "threads", "caller_threads", "expected"),
    [
        (None, 0, None, (min(processors(), 8), None)),
        ("3", 0, None, (3, 1)),
        ("0", 0, None, (min(processors(), 8), None)),
        ("3", 12, None, (8, 5)),
        (None, 6, 2, (2, 5)),
        (None, 12, None, (8, 5)),
        (None, 1, 4, (4, 1)),
    ],
)
def test_threads_are_divided_among_callers(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    threads: int,
    caller_threads: int | None,
    expected: tuple[int, int | None],
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    segmenter = OnnxSegmenter.open(file, threads=threads, caller_threads=caller_threads)
    each = segmenter._session.get_session_options().intra_op_num_threads
    assert segmenter.caller_threads == expected[0]
    assert expected[1] is None or each == expected[1]


def open_error(path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        OnnxSegmenter.open(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_files_that_are_not_onnx(file: Path, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "model.onnx"
    assert "no such model file" in open_error(path)
    whole = file.read_bytes()
    for content in (b"", b"a text", b"\x89PNG\r\n\x1a\n" + bytes(100), whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert "not an ONNX file, or truncated" in open_error(path)
    path.unlink()
    path.mkdir()
    open_error(path)
    assert capfd.readouterr() == ("", "")


def test_onnx_files_not_written_by_tag2mask(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_network(path, metadata={})
    assert "holds no network of tag2mask" in open_error(path)
    other = SPEC.to_json().replace(f'"format": {FORMAT}', '"format": 7')
    write_network(path, metadata={KEY: other})
    assert "of format 7" in open_error(path)
    write_network(path, metadata={KEY: "{"})
    assert "can't be read" in open_error(path)
    for classes in (("red", "red", "blue"), ("red", "background", "blue")):
        write_network(path, metadata={KEY: replace(SPEC, classes=classes).to_json()})
        assert "has invalid class names" in open_error(path)
    model = network()
    model.graph.output[0].name = model.graph.node[2].output[0] = "scores of classes"
    path.write_bytes(model.SerializeToString())
    assert "doesn't match its specification" in open_error(path)


@pytest.mark.parametrize("newer", [{"opset": 99}, {"version": 99}])
def test_unsupported_version_of_onnx(tmp_path: Path, newer: dict[str, int], capfd: Any) -> None:
    message = open_error(write_network(tmp_path / "model.onnx", **newer))
    assert "doesn't support this version of ONNX" in message and "--upgrade onnxruntime" in message
    assert capfd.readouterr() == ("", "")


def test_without_onnxruntime(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def blocked(name: str, *rest: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(PackageError, match=r"pip install '\.\[onnx\]'"):
        OnnxSegmenter.open(file)


class FullMemory:
    def run(self, *_: Any) -> Any:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 99999")


def test_out_of_memory(file: Path) -> None:
    segmenter = OnnxSegmenter(FullMemory(), SPEC, caller_threads=1)
    with pytest.raises(DeviceError, match=r"ran out of memory. Lower predict\.tile"):
        segmenter.probabilities(images_of(0))


def test_programming_errors_are_not_hidden(file: Path) -> None:
    segmenter = OnnxSegmenter.open(file, threads=1)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        segmenter.probabilities(np.zeros((1, 2, 16, 16), np.float32))
