"""Map files: round trip up to rounding, size, and errors for invalid files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.errors import DataError
from tag2mask.maps.cam_map import CamMap, read_map, write_map

pytestmark = pytest.mark.smoke


def cam_map(
    k: int = 2, size: tuple[int, int] = (37, 50), stride: int = 4, classes: int = 5, seed: int = 0
) -> CamMap:
    rng = np.random.default_rng(seed)
    h, w = (-(-side // stride) for side in size)
    tags = tuple(sorted(int(t) for t in rng.choice(classes, k, replace=False)))
    return CamMap(
        "dir/photo é",
        tags,
        rng.random((k, h, w), np.float32),
        size,
        rng.random(classes, np.float32),
    )


@settings(max_examples=25, deadline=None)
@given(
    k=st.integers(0, 5),
    h=st.integers(1, 70),
    w=st.integers(1, 70),
    stride=st.sampled_from([1, 2, 4, 8]),
    dtype=st.sampled_from(["uint8", "float16"]),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, k: int, h: int, w: int, stride: int, dtype: str
) -> None:
    path = tmp_path_factory.mktemp("maps") / "a.npz"
    before = cam_map(k, (h, w), stride)
    write_map(path, before, dtype)
    after = read_map(path)
    assert (after.id, after.tags, after.size) == (before.id, before.tags, before.size)
    assert after.scores.dtype == np.float32
    np.testing.assert_array_equal(after.probabilities, before.probabilities)
    np.testing.assert_array_equal(before.as_stored(dtype).scores, after.scores)
    half_step = 0.5 / 255 if dtype == "uint8" else 0.5 / 1024
    np.testing.assert_allclose(after.scores, before.scores, atol=half_step + 1e-6)
    full = after.full_scores()
    assert full.shape == (k, h, w)
    assert full.dtype == np.float32
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]


def test_full_scores_are_bilinear_between_cell_centers() -> None:
    scores = np.array([[[0.0, 1.0]]], np.float32)
    full = CamMap("a", (0,), scores, (1, 8), np.ones(1, np.float32)).full_scores()
    # Cell centers are at pixels 1.5 and 5.5 of 8; beyond them the border values continue.
    np.testing.assert_allclose(full[0, 0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_files_are_small(tmp_path: Path, stride: int, dtype: str) -> None:
    size = (375, 500)
    ys, xs = np.mgrid[0 : -(-size[0] // stride), 0 : -(-size[1] // stride)] * stride
    blob = np.exp(-(((ys - 180) / 70) ** 2 + ((xs - 260) / 110) ** 2)).astype(np.float32)
    write_map(
        tmp_path / "a.npz", CamMap("a", (0,), blob[None], size, np.ones(20, np.float32)), dtype
    )
    assert (tmp_path / "a.npz").stat().st_size < size[0] * size[1] * 4 / 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.full((2, 3, 4), np.nan, np.float32)}, "NaN"),
        ({"scores": np.full((2, 3, 4), 1.5, np.float32)}, "outside"),
        ({"scores": np.full((2, 3, 4), -0.1, np.float32)}, "outside"),
        ({"scores": np.zeros((3, 3, 4), np.float32)}, "3 score channels for 2 tags"),
        ({"scores": np.zeros((3, 4), np.float32)}, "shape"),
        ({"scores": np.zeros((2, 3, 0), np.float32)}, "empty"),
        ({"scores": np.zeros((2, 3, 4), np.int64)}, "int64"),
        ({"tags": np.array([1, 9])}, "outside the 5 classes"),
        ({"tags": np.array([3, 1])}, "not increasing"),
        ({"tags": np.array([1, 1])}, "not increasing"),
        ({"tags": np.array([1.0, 2.0])}, "tags"),
        ({"size": np.array([0, 4])}, "empty"),
        ({"size": np.array([1, 2, 3])}, "size"),
        ({"probabilities": np.full(5, np.nan, np.float32)}, "probabilities"),
        ({"probabilities": np.array(["a"] * 5)}, "probabilities"),
        ({"scores": np.array([None, 1], object)}, "read"),
        ({"scores": None}, "it has no scores"),
        ({"scores": np.zeros((2, 30_000, 30_000), np.uint8)}, "larger than it can be"),
        ({"scores": np.zeros((2, 3, 4), "c8")}, "not an array of numbers"),
        ({"size": np.array([100_000, 100_000])}, "photo of 100000 x 100000 px"),
        ({"size": np.array([-2, -3])}, "empty"),
        ({"id": np.array("x" * 20_000)}, "larger than it can be"),
        ({"id": np.array(b"a")}, "id is not an array of numbers or text"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    arrays = {
        "id": np.array("a"),
        "tags": np.array([1, 3]),
        "scores": np.zeros((2, 3, 4), np.uint8),
        "size": np.array([12, 16]),
        "probabilities": np.zeros(5, np.float32),
        **change,
    }
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(DataError, match=message) as caught:
        read_map(path)
    assert "bad.npz" in str(caught.value)
    assert "infer-cam" in str(caught.value)


def test_truncated_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_map(path, cam_map())
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"can't be read.*a\.npz"):
            read_map(path)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"a\.npz"):
        read_map(path)
    with pytest.raises(DataError, match=r"missing.*gone\.npz"):
        read_map(tmp_path / "gone.npz")


def test_maps_with_nan_are_refused() -> None:
    with pytest.raises(DataError, match=r"'x'.*NaN"):
        CamMap("x", (0,), np.full((1, 2, 2), np.nan, np.float32), (4, 4), np.ones(1, np.float32))
