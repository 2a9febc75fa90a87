"""The transform of images, maps and masks: exact for flips and quarter turns, else consistent."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tag2mask.seam.transform import ViewTransform

pytestmark = pytest.mark.smoke

QUICK = settings(max_examples=25, deadline=None)
SIDES = st.integers(5, 40)


def positions(count: int) -> Tensor:
    return 2 * torch.arange(count, dtype=torch.float64) / (count - 1) - 1


def plane(size: tuple[int, int], slope: tuple[float, float]) -> Tensor:
    """Sample the field slope · (v, u) in a frame; interpolation reproduces a linear field."""
    v, u = (positions(side) for side in size)
    return (slope[0] * v[:, None] + slope[1] * u[None, :])[None, None].float()


def source_plane(
    t: ViewTransform, size: tuple[int, int], slope: tuple[float, float], ratio: float
) -> Tensor:
    """Compute the transformed field by formula: undo shift, rotation and flip."""
    v, u = (positions(side) for side in size)
    v, u = torch.meshgrid(v - 2 * t.translate[0], u - 2 * t.translate[1], indexing="ij")
    x, y = u * ratio, -v  # lengths, y upwards
    angle = math.radians(t.rotate)
    # The content was rotated counter-clockwise, so its source is found clockwise.
    x, y = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    u, v = x / ratio, -y
    u = -u if t.flip else u
    return (slope[0] * v + slope[1] * u)[None, None].float()


@QUICK
@given(h=SIDES, w=SIDES, flip=st.booleans(), turns=st.integers(-5, 5))
def test_flips_and_quarter_turns_are_exact(h: int, w: int, flip: bool, turns: int) -> None:
    x = torch.randn(2, 3, h, w, generator=torch.Generator().manual_seed(h * w))
    t = ViewTransform(flip=flip, rotate=90.0 * turns)
    wanted = torch.rot90(x.flip(3) if flip else x, turns, (2, 3))
    moved = t.image(x)
    assert torch.equal(moved, wanted)
    assert torch.equal(t.maps(x), wanted)
    assert moved.shape[2:] == t.output_size(h, w)
    assert torch.equal(t.inverse(moved, (h, w)), x)
    mask = x[:, 0] > 0
    assert torch.equal(t.valid(mask), moved[:, 0] > 0)


def test_rotation_is_counter_clockwise_and_shift_goes_down_and_right() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 8] = 1.0  # at three o'clock
    up = ViewTransform(rotate=89.999).maps(x)
    assert up[0, 0, 0, 4] > 0.99
    moved = ViewTransform(translate=(2 / 8, -1 / 8)).maps(x)
    assert moved[0, 0, 6, 7] == pytest.approx(1.0, abs=1e-5)


def test_any_other_angle_agrees_with_the_quarter_turn() -> None:
    x = torch.rand(1, 2, 24, 24)
    near = ViewTransform(rotate=90 + 1e-7).maps(x)
    assert torch.allclose(near, torch.rot90(x, 1, (2, 3)), atol=1e-4)


def test_identity_returns_its_input() -> None:
    x = torch.rand(2, 3, 17, 11)
    assert ViewTransform().image(x) is x
    assert ViewTransform().maps(x) is x
    assert ViewTransform(scale=0.9, size_multiple=32).image(torch.rand(1, 1, 32, 32)).shape[2] == 32


@QUICK
@given(h=SIDES, w=SIDES, scale=st.sampled_from([0.3, 0.5, 0.77, 1.0, 1.7]))
def test_published_rescaling(h: int, w: int, scale: float) -> None:
    x = torch.randn(2, 3, h, w)
    wanted = functional.interpolate(
        x, scale_factor=scale, mode="bilinear", align_corners=True, recompute_scale_factor=True
    )
    t = ViewTransform(scale=scale)
    assert t.output_size(h, w) == tuple(wanted.shape[2:])
    assert torch.equal(t.image(x), wanted)
    assert torch.equal(t.maps(x), wanted)


@pytest.mark.parametrize(
    ("side", "scale", "wanted"),
    [(224, 0.5, 128), (224, 0.3, 64), (224, 0.05, 32), (320, 0.8, 256), (224, 1.0, 224)],
)
def test_sides_are_rounded_to_the_multiple(side: int, scale: float, wanted: int) -> None:
    t = ViewTransform(scale=scale, size_multiple=32, antialias=True)
    assert t.output_size(side, side) == (wanted, wanted)
    assert t.image(torch.rand(1, 1, side, side)).shape[2:] == (wanted, wanted)


@QUICK
@given(
    scale=st.floats(0.4, 1.6),
    flip=st.booleans(),
    rotate=st.floats(-170, 170).filter(lambda angle: angle == 0 or angle % 90 != 0),
    dy=st.floats(-0.3, 0.3),
    dx=st.floats(-0.3, 0.3),
    stride=st.sampled_from([1, 2, 4]),
    wide=st.sampled_from([(32, 32), (32, 48), (64, 32)]),
)
def test_every_composition_transforms_a_plane_as_the_formula_says(
    scale: float,
    flip: bool,
    rotate: float,
    dy: float,
    dx: float,
    stride: int,
    wide: tuple[int, int],
) -> None:
    """At any stride of the same frame, on all pixels that the valid mask admits."""
    t = ViewTransform(scale, flip, rotate, (dy, dx))
    cells = (wide[0] // stride, wide[1] // stride)
    size = tuple(side // stride for side in t.output_size(*wide))
    x = plane(cells, (0.7, -0.4))
    moved = t.maps(x, size)
    wanted = source_plane(t, size, (0.7, -0.4), size[1] / size[0])
    valid = t.valid(torch.ones(1, *cells, dtype=torch.bool), size)
    assert torch.allclose(moved[0, 0][valid[0]], wanted[0, 0][valid[0]], atol=4e-3)
    assert moved.shape[2:] == size


def test_antialiasing_is_a_mean_over_the_cells_of_a_triangle() -> None:
    x = torch.tensor([[3.0, 6, 4, 0, 6], [3, 6, 4, 0, 6]])[None, None]
    # The result's centers are cells 0, 2 and 4; a neighbor counts half.
    rows = [(3 + 6 / 2) / 1.5, (6 / 2 + 4) / 2, 6 / 1.5]
    t = ViewTransform(scale=0.6, antialias=True)
    assert t.image(x).flatten().tolist() == pytest.approx(rows)
    assert t.image(x.mT).flatten().tolist() == pytest.approx(rows)


def test_antialiased_images_are_aligned_with_maps() -> None:
    t = ViewTransform(scale=0.37, antialias=True)
    x = plane((60, 80), (1.0, -0.5))
    image, maps = t.image(x), t.maps(x)
    assert torch.allclose(image[..., 2:-2, 2:-2], maps[..., 2:-2, 2:-2], atol=4e-3)
    stripes = (torch.arange(80) % 2).float().expand(1, 1, 60, 80)
    assert (t.image(stripes) - 0.5)[..., 1:-1].abs().max() < 0.12
    assert (t.maps(stripes) - 0.5)[..., 1:-1].abs().max() > 0.4


@QUICK
@given(
    scale=st.floats(0.3, 1.5),
    rotate=st.floats(-40, 40),
    dx=st.floats(-0.2, 0.2),
    flip=st.booleans(),
    antialias=st.booleans(),
    seed=st.integers(0, 999),
)
def test_nothing_invalid_reaches_a_valid_pixel(
    scale: float, rotate: float, dx: float, flip: bool, antialias: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 3, 30, 36, generator=generator)
    mask = torch.ones(1, 30, 36, dtype=torch.bool)
    mask[:, 20:] = False
    mask[:, :, : seed % 9] = False
    t = ViewTransform(scale, flip, rotate, (0.0, dx), antialias=antialias)
    valid = t.valid(mask)[:, None]
    for move in (t.image, t.maps):
        clean, corrupted = move(x * mask[:, None]), move(torch.where(mask[:, None], x, 1.0))
        assert ((clean - corrupted).abs() * valid).max() < 2e-3
    # Values from outside do not reach one either: a field of ones stays 1.
    assert ((t.maps(torch.ones_like(x)) - 1).abs() * valid).max() < 2e-3


def test_every_part_of_a_transform_is_drawn_from_its_range() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [
        ViewTransform.draw(generator, scale=(0.3, 0.7), flip=0.5, rotate=20.0, translate=0.1)
        for _ in range(400)
    ]
    for low, high, values in (
        (0.3, 0.7, [t.scale for t in drawn]),
        (-20.0, 20.0, [t.rotate for t in drawn]),
        (-0.1, 0.1, [t.translate[0] for t in drawn]),
        (-0.1, 0.1, [t.translate[1] for t in drawn]),
    ):
        width = high - low
        assert low <= min(values) < low + 0.02 * width and high - 0.02 * width < max(values) <= high
        assert abs(sum(values) / len(values) - (low + high) / 2) < 0.05 * width
    assert 150 < sum(t.flip for t in drawn) < 250


def test_valid_pixels_remain() -> None:
    everywhere = torch.ones(2, 32, 32, dtype=torch.bool)
    for scale in (0.3, 0.5, 1.0, 1.3):
        for antialias in (True, False):
            assert ViewTransform(scale, antialias=antialias).valid(everywhere).all()
    shifted = ViewTransform(translate=(0.0, 0.25)).valid(everywhere)
    assert not shifted[:, :, :8].any()
    assert shifted[:, :, 8:].all()
    rotated = ViewTransform(rotate=10.0).valid(everywhere)
    assert 0.75 < rotated.float().mean() < 1.0
    assert not rotated[:, 0, 0].any()


@QUICK
@given(
    rotate=st.floats(-180, 180),
    flip=st.booleans(),
    dy=st.floats(-0.2, 0.2),
    dx=st.floats(-0.2, 0.2),
    w=st.sampled_from([48, 64]),
    scale=st.sampled_from([0.8, 1.0, 1.5]),
)
def test_inverse_brings_maps_back(
    rotate: float, flip: bool, dy: float, dx: float, w: int, scale: float
) -> None:
    t = ViewTransform(scale, flip, rotate, (dy, dx))
    ys, xs = torch.linspace(-1, 1, 48)[:, None], torch.linspace(-1, 1, w)[None, :]
    # A smooth blob well inside, so that it stays in view.
    x = torch.exp(-(((ys - 0.1) / 0.4) ** 2) - ((xs + 0.05) / 0.4) ** 2)[None, None]
    back = t.inverse(t.maps(x), (48, w))
    seen = t.inverse(t.maps(torch.ones_like(x)), (48, w)) > 0.999
    assert seen.float().mean() > 0.2
    assert ((back - x).abs() * seen).max() < 0.06


@pytest.mark.parametrize(
    "t",
    [
        ViewTransform(scale=0.6),
        ViewTransform(flip=True, rotate=90.0),
        ViewTransform(scale=1.4, rotate=13.0, translate=(0.1, -0.05)),
        ViewTransform(scale=0.6, antialias=True),
    ],
)
def test_gradients_flow_through_maps(t: ViewTransform) -> None:
    x = torch.rand(1, 2, 9, 11, requires_grad=True)
    direction = torch.randn_like(t.maps(x))
    (t.maps(x) * direction).sum().backward()
    assert x.grad is not None
    # The transform is linear, so the adjoint identity determines the gradient.
    other = torch.rand(1, 2, 9, 11)
    assert (x.grad * other).sum().item() == pytest.approx(
        (direction * t.maps(other)).sum().item(), rel=1e-4, abs=1e-4
    )
    assert t.inverse(t.maps(x), (9, 11)).requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    x = torch.rand(1, 3, 32, 32)
    for t in (
        ViewTransform(0.5),
        ViewTransform(0.5, antialias=True),
        ViewTransform(rotate=20.0),
        ViewTransform(flip=True),
    ):
        moved = t.image(x.to(dtype))
        assert moved.dtype == dtype
        assert torch.allclose(moved.float(), t.image(x), atol=1e-2)


def test_draws_stay_in_range_and_repeat() -> None:
    def draws(seed: int) -> list[ViewTransform]:
        generator = torch.Generator().manual_seed(seed)
        return [
            ViewTransform.draw(
                generator,
                scale=(0.5, 0.8),
                flip=0.5,
                rotate=10.0,
                translate=0.1,
                size_multiple=32,
                antialias=True,
            )
            for _ in range(200)
        ]

    many = draws(0)
    assert many == draws(0) != draws(1)
    assert all(0.5 <= t.scale <= 0.8 and abs(t.rotate) <= 10 for t in many)
    assert max(abs(share) for t in many for share in t.translate) <= 0.1
    assert 60 < sum(t.flip for t in many) < 140
    assert min(t.rotate for t in many) < -5 < 5 < max(t.rotate for t in many)
    fixed = ViewTransform.draw(torch.Generator(), scale=(0.3, 0.3))
    assert fixed == ViewTransform(scale=0.3)


def test_enabling_a_part_does_not_change_the_other_draws() -> None:
    plain = ViewTransform.draw(torch.Generator().manual_seed(3), scale=(0.5, 0.8))
    turned = ViewTransform.draw(torch.Generator().manual_seed(3), scale=(0.5, 0.8), rotate=9.0)
    assert plain.scale == turned.scale
