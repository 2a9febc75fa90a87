"""The sparse random walk equals dense matrix powers in double precision."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tag2mask.affinity.pairs import existing_pairs, pair_offsets
from tag2mask.affinity.random_walk import RandomWalk, random_walk

TOLERANCE = 1e-5


def affinity_of(
    size: tuple[int, int], radius: int, *, published: bool = False, seed: int = 0
) -> Tensor:
    """Random affinities, 0 where there is no pair; some pairs are 0 or 1."""
    exist = torch.from_numpy(existing_pairs(size, radius, published=published))
    random = torch.rand(exist.shape, generator=torch.Generator().manual_seed(seed))
    return (1.2 * random - 0.1).clamp(0, 1) * exist


def maps_of(k: int, size: tuple[int, int], seed: int = 1) -> Tensor:
    return torch.rand(k, *size, generator=torch.Generator().manual_seed(seed))


def dense_walk(affinity: Tensor, maps: Tensor, radius: int, beta: float, steps: int) -> Tensor:
    """Compute the walk by the formula of the paper's section 3.3."""
    _, height, width = affinity.shape
    cells = height * width
    matrix = torch.eye(cells, dtype=torch.float64)
    for (dy, dx), one in zip(pair_offsets(radius).tolist(), affinity.double(), strict=True):
        for y in range(height):
            for x in range(width):
                if y + dy < height and 0 <= x + dx < width:
                    i, j = y * width + x, (y + dy) * width + x + dx
                    matrix[i, j] = matrix[j, i] = one[y, x] ** beta
    transition = matrix / matrix.sum(dim=0, keepdim=True)
    walked = maps.double().flatten(1) @ torch.linalg.matrix_power(transition, steps)
    return walked.reshape(maps.shape)


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    radius=st.integers(1, 6),
    beta=st.floats(0.5, 16),
    steps=st.integers(0, 300),
    k=st.integers(1, 6),
    published=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_equals_dense_matrix_powers(
    height: int,
    width: int,
    radius: int,
    beta: float,
    steps: int,
    k: int,
    published: bool,
    seed: int,
) -> None:
    affinity = affinity_of((height, width), radius, published=published, seed=seed)
    maps = maps_of(k, (height, width), seed)
    walked = random_walk(affinity, maps, radius=radius, beta=beta, steps=steps)
    assert walked.dtype == torch.float32 and walked.shape == maps.shape
    wanted = dense_walk(affinity, maps, radius, beta, steps)
    torch.testing.assert_close(walked.double(), wanted, atol=TOLERANCE, rtol=0)


@given(height=st.integers(1, 20), width=st.integers(1, 20), steps=st.integers(0, 500))
@settings(max_examples=30, deadline=None)
def test_a_constant_map_stays_and_values_keep_their_range(
    height: int, width: int, steps: int
) -> None:
    walk = RandomWalk(affinity_of((height, width), 5), radius=5, beta=4)
    constant = torch.full((1, height, width), 0.7)
    torch.testing.assert_close(walk.run(constant, steps=steps), constant, atol=TOLERANCE, rtol=0)
    maps = maps_of(2, (height, width))
    walked = walk.run(maps, steps=steps)
    assert walked.min() >= maps.min() - TOLERANCE and walked.max() <= maps.max() + TOLERANCE


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3)])
def test_radius_larger_than_the_map(size: tuple[int, int]) -> None:
    affinity, maps = affinity_of(size, 12), maps_of(2, size)
    walked = random_walk(affinity, maps, radius=12, beta=2, steps=7)
    torch.testing.assert_close(
        walked.double(), dense_walk(affinity, maps, 12, 2, 7), atol=TOLERANCE, rtol=0
    )


def test_maps_stay_without_steps_pairs_or_affinity() -> None:
    maps = maps_of(3, (6, 7))
    affinity = affinity_of((6, 7), 5)
    assert torch.equal(random_walk(affinity, maps, radius=5, beta=8, steps=0), maps)
    assert torch.equal(random_walk(affinity[:0], maps, radius=1, beta=8, steps=9), maps)
    assert torch.equal(random_walk(0 * affinity, maps, radius=5, beta=8, steps=9), maps)
    single = maps[:, :1, :1]
    assert torch.equal(
        random_walk(affinity_of((1, 1), 5), single, radius=5, beta=8, steps=64), single
    )


def test_no_maps() -> None:
    walked = random_walk(affinity_of((4, 5), 3), torch.zeros(0, 4, 5), radius=3, beta=8, steps=2)
    assert walked.shape == (0, 4, 5)


def test_weak_affinities_are_not_crossed() -> None:
    """Two halves with affinity 1 inside and 0.1 across; with β = 8 almost nothing crosses."""
    exist = torch.from_numpy(existing_pairs((8, 16), 5, published=False)).float()
    left = (torch.arange(16) < 8).expand(8, 16)
    for one, (dy, dx) in zip(exist, pair_offsets(5).tolist(), strict=True):
        for y in range(8 - dy):
            for x in range(max(0, -dx), 16 - max(0, dx)):
                one[y, x] = 1.0 if left[y, x] == left[y + dy, x + dx] else 0.1
    seed = torch.zeros(1, 8, 16)
    seed[0, 3, 3] = 1.0
    walked = random_walk(exist, seed, radius=5, beta=8, steps=256)[0]
    assert walked[left].std() / walked[left].mean() < 0.5, "the score spreads over its half"
    assert walked[~left].max() < 1e-3 * walked[left].min()


def test_one_walk_returns_several_numbers_of_steps() -> None:
    affinity, maps = affinity_of((9, 10), 5), maps_of(2, (9, 10))
    before = affinity.clone(), maps.clone()
    walk = RandomWalk(affinity, radius=5, beta=3)
    found = walk.run_each(maps, steps=[16, 0, 3, 16])
    for steps, walked in zip([16, 0, 3, 16], found, strict=True):
        assert torch.equal(walked, walk.run(maps, steps=steps))
    assert torch.equal(affinity, before[0]) and torch.equal(maps, before[1])


def test_half_precision_gives_float32() -> None:
    affinity, maps = affinity_of((5, 6), 3).half(), maps_of(2, (5, 6)).half()
    walked = random_walk(affinity, maps, radius=3, beta=8, steps=5)
    wanted = random_walk(affinity.float(), maps.float(), radius=3, beta=8, steps=5)
    assert walked.dtype == torch.float32 and torch.equal(walked, wanted)


def test_nan_is_propagated() -> None:
    affinity = affinity_of((4, 4), 3)
    affinity[:, 0, 0] = np.nan
    walked = random_walk(affinity, maps_of(1, (4, 4)), radius=3, beta=8, steps=1)
    assert walked.isnan().any() and not walked.isnan().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_cuda() -> None:
    affinity, maps = affinity_of((40, 50), 5), maps_of(5, (40, 50))
    wanted = random_walk(affinity, maps, radius=5, beta=8, steps=64)
    walked = random_walk(affinity.cuda(), maps.cuda(), radius=5, beta=8, steps=64)
    assert walked.is_cuda
    torch.testing.assert_close(walked.cpu(), wanted, atol=TOLERANCE, rtol=0)


def test_torch_prints_no_warning_about_sparse_matrices() -> None:
    code = (
        "import torch; from tag2mask.affinity.random_walk import random_walk;"
        "random_walk(torch.ones(4, 3, 3), torch.ones(1, 3, 3), radius=2, beta=8.0, steps=1)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Sparse" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_a_large_photo_and_its_growth() -> None:
    """2000 x 3000 px at stride 8 take under 2 GiB, torch included, and memory grows linearly."""
    before, large, larger = (peak_mib(*size) for size in ((1, 1), (250, 375), (500, 750)))
    assert large < 2 * 1024
    assert larger - before < 5 * (large - before)


def peak_mib(height: int, width: int) -> float:
    """Measure the peak memory of a process that walks on a grid, MiB."""
    code = (
        "import re, torch; from tag2mask.affinity.random_walk import random_walk;"
        f"size = ({height}, {width}); walked = random_walk(torch.rand(34, *size),"
        " torch.rand(4, *size), radius=5, beta=8, steps=8); assert walked.isfinite().all();"
        # getrusage would include the peak of the parent process.
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


@pytest.mark.usefixtures("two_threads")
def test_threads_make_no_difference() -> None:
    affinity, maps = affinity_of((40, 50), 5), maps_of(3, (40, 50))
    two = random_walk(affinity, maps, radius=5, beta=8, steps=20)
    torch.set_num_threads(1)
    torch.testing.assert_close(
        random_walk(affinity, maps, radius=5, beta=8, steps=20), two, atol=1e-6, rtol=0
    )


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
