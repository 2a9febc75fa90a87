"""The transform between the two Siamese branches, for images, maps and valid masks alike.

SEAM (Wang et al., CVPR 2020, section 3.2) asks the network to commute with an affine transform A:
F(A(I)) = A(F(I)). A is applied to images on one side and to score maps on the other, at different
resolutions, so one object does both and the conventions can't drift apart. It is a rescale, then a
flip, a rotation about the center and a translation, each possibly the identity.

Positions are those of the *frame*, -1..1 from side to side, so that a map at any stride moves as
its image does. ``align_corners`` says what the sides are: the centers of the outermost cells (True,
published) or their outer edges (False). A rotation by a multiple of 90 degrees turns the frame
along (height and width change places); any other keeps it, and what turns into view from outside
is 0 and invalid. Lengths within the frame are taken from its ratio of width to height, which is
the same for an image and its maps whenever the stride divides the sides.

Flips and quarter turns move values and never mix them; rescaling is one interpolation, any other
rotation with the translation one more.

Left out: shear, perspective, and compositions in another order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from tag2mask.nn.repeatable_resize import resize_by_matrices

_SUPPORT = 1.0 - 1e-3
"""A pixel is valid when at least this share of its interpolation weight is."""


@dataclass(frozen=True)
class ViewTransform:
    """Takes view 1 to view 2: rescale, flip, rotate, translate, in this order.

    Args:
        scale: factor of the sides, > 0.
        flip: mirror left and right.
        rotate: degrees, counter-clockwise as seen.
        translate: shift ``(down, right)`` as a share of view 2's sides, each in (-1, 1).
        size_multiple: view 2's sides are rounded to the nearest multiple of this (at least one);
            1: rounded down to whole pixels (published).
        antialias: average over the pixels that fall into one when *images* shrink. Maps are smooth
            and never averaged.
        align_corners: what a frame's sides are; see the head of the module.
    """

    scale: float = 1.0
    flip: bool = False
    rotate: float = 0.0
    translate: tuple[float, float] = (0.0, 0.0)
    size_multiple: int = 1
    antialias: bool = False
    align_corners: bool = True

    def __post_init__(self) -> None:
        assert self.scale > 0 and math.isfinite(self.rotate), self
        assert max(abs(share) for share in self.translate) < 1, self
        assert self.size_multiple >= 1, self

    @classmethod
    def draw(
        cls,
        generator: torch.Generator,
        *,
        scale: tuple[float, float] = (1.0, 1.0),
        flip: float = 0.0,
        rotate: float = 0.0,
        translate: float = 0.0,
        size_multiple: int = 1,
        antialias: bool = False,
        align_corners: bool = True,
    ) -> ViewTransform:
        """Draw a transform; five numbers of the generator are used whatever is switched on.

        Args:
            generator: of the CPU.
            scale: range of the factor; equal ends fix it.
            flip: probability of a flip.
            rotate: largest rotation either way, degrees.
            translate: largest shift either way, share of a side.
            size_multiple: as in the class.
            antialias: as in the class.
            align_corners: as in the class.
        """
        assert scale[0] <= scale[1], scale
        u = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
        return cls(
            scale=scale[0] + (scale[1] - scale[0]) * u[0],
            flip=u[1] < flip,
            rotate=rotate * (2 * u[2] - 1),
            translate=(translate * (2 * u[3] - 1), translate * (2 * u[4] - 1)),
            size_multiple=size_multiple,
            antialias=antialias,
            align_corners=align_corners,
        )

    def output_size(self, h: int, w: int) -> tuple[int, int]:
        """Size of view 2, px, when view 1 is ``h`` x ``w``."""
        return self._turned(self._rescaled(h), self._rescaled(w))

    def image(self, x: Tensor) -> Tensor:
        """View 2 of a batch of images.

        Args:
            x: (b, c, h, w), any floating dtype; 0 stands for "nothing there".

        Returns:
            (b, c, h', w') with ``output_size``, same dtype; ``x`` itself for the identity.
        """
        return self._apply(x, None, antialias=self.antialias)

    def maps(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Score maps of view 1's frame, moved to view 2's frame. Differentiable.

        Args:
            x: (b, c, h, w) at any resolution of view 1's frame.
            size: (h', w') of the result; None: ``output_size(h, w)``, right for maps at the
                image's own resolution.

        Returns:
            (b, c, h', w'), same dtype, 0 where view 2 looks outside of view 1.
        """
        return self._apply(x, size, antialias=False)

    def valid(self, mask: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Pixels of view 2 that rest on valid pixels of view 1 alone.

        Args:
            mask: bool (b, h, w), at any resolution of view 1's frame.
            size: as for `maps`.

        Returns:
            bool (b, h', w'). False where any pixel that `image` or `maps` interpolates from is
            invalid or out of view.
        """
        assert mask.dtype == torch.bool and mask.ndim == 3, (mask.dtype, mask.shape)
        share = self._apply(mask[:, None].float(), size, antialias=self.antialias)
        return share[:, 0] >= _SUPPORT

    def inverse(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps of view 2's frame, moved back to view 1's. Differentiable.

        Args:
            x: (b, c, h', w') at any resolution of view 2's frame.
            size: (h, w) of the result in view 1's frame.

        Returns:
            (b, c, h, w), same dtype, 0 where view 1 was out of view 2's sight. Exact for flips and
            quarter turns at an unchanged size.
        """
        angle, turns = self._free_angle, self._quarter_turns
        if angle or any(self.translate):
            x = self._sample(x, angle, backward=True)
        if turns:
            x = torch.rot90(x, -turns, (2, 3))
        if self.flip:
            x = x.flip(3)
        return self._resize(x, size, antialias=False)

    @property
    def _quarter_turns(self) -> int:
        return round(self.rotate / 90.0) % 4 if self.rotate % 90.0 == 0.0 else 0

    @property
    def _free_angle(self) -> float:
        """Radians that aren't a whole number of quarter turns."""
        return 0.0 if self.rotate % 90.0 == 0.0 else math.radians(self.rotate)

    def _turned(self, h: int, w: int) -> tuple[int, int]:
        return (w, h) if self._quarter_turns % 2 else (h, w)

    def _rescaled(self, side: int) -> int:
        if self.size_multiple == 1:
            return max(1, math.floor(self.scale * side))
        return self.size_multiple * max(1, round(self.scale * side / self.size_multiple))

    def _apply(self, x: Tensor, size: tuple[int, int] | None, *, antialias: bool) -> Tensor:
        assert x.ndim == 4 and x.is_floating_point(), (x.shape, x.dtype)
        size = self.output_size(x.shape[2], x.shape[3]) if size is None else size
        x = self._resize(x, self._turned(*size), antialias=antialias)
        if self.flip:
            x = x.flip(3)
        if self._quarter_turns:
            x = torch.rot90(x, self._quarter_turns, (2, 3))
        if self._free_angle or any(self.translate):
            x = self._sample(x, self._free_angle, backward=False)
        return x

    def _resize(self, x: Tensor, size: tuple[int, int], *, antialias: bool) -> Tensor:
        h, w = x.shape[2], x.shape[3]
        if (h, w) == size:
            return x
        if antialias and (size[0] < h or size[1] < w):
            # torch's own antialiasing places samples as if align_corners were False, whatever is
            # asked; as two matrix products it is right for both, and as fast.
            rows = _triangle_weights(h, size[0], self.align_corners, x.device)
            columns = _triangle_weights(w, size[1], self.align_corners, x.device)
            return resize_by_matrices(x, rows, columns)
        return functional.interpolate(
            x, size=size, mode="bilinear", align_corners=self.align_corners
        )

    def _sample(self, x: Tensor, angle: float, *, backward: bool) -> Tensor:
        """Rotate by ``angle`` about the center, then translate; or the inverse of both."""
        h, w = x.shape[2], x.shape[3]
        v = _cell_positions(h, self.align_corners, x.device)[:, None]
        u = _cell_positions(w, self.align_corners, x.device)[None, :]
        down, right = 2.0 * self.translate[0], 2.0 * self.translate[1]
        sine, cosine, ratio = math.sin(angle), math.cos(angle), w / h
        # The grid says where each pixel of the result comes from, so it holds the inverse map.
        if backward:
            source_u = u * cosine + v * (sine / ratio) + right
            source_v = v * cosine - u * (sine * ratio) + down
        else:
            v, u = v - down, u - right
            source_u = u * cosine - v * (sine / ratio)
            source_v = v * cosine + u * (sine * ratio)
        grid = torch.stack((source_u, source_v), dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            sampled = functional.grid_sample(
                x.float(),
                grid.expand(len(x), h, w, 2),
                mode="bilinear",
                padding_mode="zeros",
                align_corners=self.align_corners,
            )
        return sampled.to(x.dtype)


def _cell_positions(count: int, align_corners: bool, device: torch.device) -> Tensor:
    """Positions of the cells' centers in the frame, -1..1, (count,)."""
    index = torch.arange(count, dtype=torch.float64, device="cpu")
    if align_corners:
        positions = 2.0 * index / max(count - 1, 1) - (1.0 if count > 1 else 0.0)
    else:
        positions = (2.0 * index + 1.0) / count - 1.0
    return positions.to(device, torch.float32)


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept must serve training too
def _triangle_weights(before: int, after: int, align_corners: bool, device: torch.device) -> Tensor:
    """Weights (after, before) of a resize that averages when it shrinks: a triangle filter.

    Its half width is one cell of the coarser grid, so enlarging is plain bilinear.
    """
    if align_corners:
        step = (before - 1) / (after - 1) if after > 1 else 0.0
        centers = torch.arange(after, dtype=torch.float64) * step
        width = max(step, 1.0) if after > 1 else float(before)
    else:
        step = before / after
        centers = (torch.arange(after, dtype=torch.float64) + 0.5) * step - 0.5
        centers = centers.clamp(0, before - 1) if step < 1.0 else centers
        width = max(step, 1.0)
    distance = (centers[:, None] - torch.arange(before, dtype=torch.float64)[None, :]).abs()
    weights = (1.0 - distance / width).clamp(min=0.0)
    return (weights / weights.sum(dim=1, keepdim=True)).to(device, torch.float32)
