import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.crf import lattice_build, lattice_filter
from tag2mask.crf.permutohedral import GROUP, PermutohedralLattice
from tag2mask.errors import DataError
from tag2mask.runtime.compiled import Team

pytestmark = pytest.mark.smoke

ALONE = Team(1)


def plain_filter(features, values):
    """Filter pixel by pixel as in the paper, with lattice points in a dictionary."""
    dims, pixels = features.shape
    side = dims + 1
    axes = np.arange(1, side)
    scaled = (features.T * math.sqrt(2 / 3) * side / np.sqrt(axes * (axes + 1))).astype(float)
    corners, points = [], defaultdict(float)
    for pixel in range(pixels):
        place = np.array(
            [scaled[pixel, j:].sum() - (j * scaled[pixel, j - 1] if j else 0) for j in range(side)]
        )
        corner = side * np.floor(place / side + 0.5)
        order = np.argsort(corner - place, kind="stable")  # largest distance first
        excess = round(corner.sum() / side)
        if excess > 0:
            corner[order[-excess:]] -= side
        elif excess < 0:
            corner[order[:-excess]] += side
        distance = (place - corner) / side
        order = np.argsort(-distance, kind="stable")
        falling = distance[order]
        for r in range(side):
            vertex = corner.copy()
            vertex[order[: side - r]] += r
            vertex[order[side - r :]] += r - side
            weight = falling[dims - r] - falling[side - r] if r else 1 - falling[0] + falling[-1]
            corners.append((pixel, tuple(vertex.astype(int)), weight))
            points[corners[-1][1]] += weight * values[pixel]
    for axis in range(side):
        step = -np.ones(side, int)
        step[axis] = dims
        points = {
            key: value + sum(points.get(tuple(np.add(key, way * step)), 0.0) for way in (1, -1)) / 2
            for key, value in points.items()
        }
    out = np.zeros(pixels)
    for pixel, key, weight in corners:
        out[pixel] += weight * points[key] / (1 + 2.0**-dims)
    return out


def gaussian(features):
    """Return the exact kernel of all pairs, normalized symmetrically."""
    kernel = np.exp(-np.square(features[:, :, None] - features[:, None]).sum(0) / 2)
    norm = 1 / np.sqrt(kernel.sum(1))
    return kernel * norm[:, None] * norm


@st.composite
def features_of_pixels(draw, most=60):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dims, pixels = draw(st.integers(1, 5)), draw(st.integers(1, most))
    spread = draw(st.sampled_from([0.0, 0.3, 2.0, 30.0]))
    return (spread * rng.normal(size=(dims, pixels)) - 3).astype(np.float32), rng


@given(features_of_pixels())
@settings(max_examples=30, deadline=None)
def test_the_filter_is_the_papers(drawn):
    features, rng = drawn
    values = rng.random(features.shape[1], np.float32)
    expected = plain_filter(features, values)
    got = PermutohedralLattice(features, ALONE).filter(values, ALONE)
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("size", "srgb", "mean", "most"), [((18, 23), None, 0.01, 0.03), ((18, 23), 60.0, 0.03, 0.12)]
)
def test_the_filter_is_close_to_a_gaussian(size, srgb, mean, most):
    rng = np.random.default_rng(0)
    place = np.indices(size, np.float32).reshape(2, -1)
    color = np.kron(rng.integers(0, 256, (3, 3, 4)), np.ones((1, 6, 6)))[:, : size[0], : size[1]]
    features = (
        place / 3
        if srgb is None
        else np.concatenate([place / 8, color.reshape(3, -1).astype(np.float32) / srgb])
    )
    lattice = PermutohedralLattice(features, ALONE)
    lattice.normalize(ALONE)
    values = rng.random(place.shape[1], np.float32)
    error = np.abs(lattice.filter(values, ALONE) - gaussian(features) @ values)
    assert error.mean() < mean and error.max() < most


@given(features_of_pixels(most=3000), st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_results_are_equal_for_any_number_of_threads(drawn, threads):
    features, rng = drawn
    values = rng.random(features.shape[1], np.float32)
    alone = PermutohedralLattice(features, ALONE)
    alone.normalize(ALONE)
    with Team(threads) as team:
        shared = PermutohedralLattice(features, team)
        shared.normalize(team)
        assert shared.points == alone.points
        np.testing.assert_array_equal(shared.filter(values, team), alone.filter(values, ALONE))


def test_a_group_of_channels_equals_single_ones():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 700)).astype(np.float32)
    values = rng.random((700, GROUP), np.float32)
    lattice = PermutohedralLattice(features, ALONE)
    given_out, out = lattice.lattice_values(GROUP), np.zeros((GROUP, 700), np.float32)
    lattice.splat(values, given_out, 0, lattice.points)
    lattice.slice(lattice.blur(given_out, lattice.lattice_values(GROUP)), 1.0, out, 0, 700)
    for channel in range(GROUP):
        single = lattice.filter(values[:, channel], ALONE)
        np.testing.assert_allclose(out[channel], single, rtol=1e-5)


def test_each_loop_is_compiled_once():
    """An argument of another type would compile a loop again, which takes seconds."""
    for features in (np.zeros((1, 1), np.float32), np.ones((5, 3000), np.float32)):
        lattice = PermutohedralLattice(features, ALONE)
        lattice.normalize(ALONE)
        lattice.filter(features[0], ALONE)
    for name, loop in {**vars(lattice_build), **vars(lattice_filter)}.items():
        assert len(getattr(loop, "signatures", [])) <= 1, name


def test_features_with_too_large_a_range():
    features = np.array([[0, 1]] * 6, np.float32) * 1e5
    with pytest.raises(DataError, match="standard deviations"):
        PermutohedralLattice(features, ALONE)
