"""Marginals of the CRFs: files, and the labels of cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from tag2mask.affinity.labels import agreed_labels
from tag2mask.affinity.marginals import cell_labels, read_marginals, write_marginals
from tag2mask.classes import IGNORE
from tag2mask.errors import DataError

SIZE, TAGS = (5, 7), (0, 3)


def drawn(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Marginals of three classes that half floats hold, float32 (2, 3, h, w)."""
    scores = np.random.default_rng(seed).random((2, 3, *size)) ** 3
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "one.safetensors"
    write_marginals(path, *drawn(), TAGS)
    tags, marginals = read_marginals(path, SIZE, 4)
    assert tags == TAGS and marginals.dtype == np.float32
    assert np.array_equal(marginals, drawn())


HALF = drawn().astype(np.float16)
IDS = np.array(TAGS, np.int32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "marginals of the CRFs are missing"),
        (b"", "can't be read"),
        (b"\xff" * 64, "can't be read"),
        (save({"marginals": HALF}), "can't be read"),
        (save({"marginals": HALF, "tags": IDS})[:-1], "can't be read"),
        (save({"marginals": HALF[:, :2].copy(), "tags": IDS}), r"shape \(2, 2, 5, 7\)"),
        (save({"marginals": HALF[..., :6].copy(), "tags": IDS}), "for a photo of 7x5 px"),
        (save({"marginals": HALF.astype(np.float32), "tags": IDS}), "marginals of shape"),
        (save({"marginals": HALF * np.float16(2), "tags": IDS}), "marginals of shape"),
        (save({"marginals": HALF * np.float16("nan"), "tags": IDS}), "marginals of shape"),
        (save({"marginals": HALF, "tags": IDS + 1}), r"tags \[1, 4\] of 4 classes"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "one.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read_marginals(path, SIZE, 4)
    assert "one.safetensors" in str(raised.value) and "affinity-labels again" in str(raised.value)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_cells_compare_the_means(seed: int, stride: int, height: int, width: int) -> None:
    marginals = drawn(seed, (height, width))
    labels = cell_labels(marginals, TAGS, stride)
    assert labels.shape == (-(-height // stride), -(-width // stride))
    for y, x in np.ndindex(labels.shape):
        block = marginals[..., y * stride : (y + 1) * stride, x * stride : (x + 1) * stride]
        strong, weak = block.sum(axis=(2, 3))
        if min(np.diff(np.sort(strong))[-1], np.diff(np.sort(weak))[-1]) > 1e-5:  # no tie
            wanted = 0 if weak.argmax() == 0 else (IGNORE, 1, 4)[strong.argmax()]
            assert labels[y, x] == wanted


def test_cells_of_one_pixel_are_the_pixels() -> None:
    marginals = drawn()
    assert np.array_equal(cell_labels(marginals, TAGS, 1), agreed_labels(*marginals, TAGS))


def test_cells_outside_the_photo_are_unsure() -> None:
    marginals = np.zeros((2, 2, 8, 8), np.float32)
    marginals[:, 0, 3, 3] = 1  # a single pixel is inside
    assert cell_labels(marginals, (0,), 4).tolist() == [[0, IGNORE], [IGNORE, IGNORE]]
