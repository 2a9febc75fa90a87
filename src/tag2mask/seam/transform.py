"""A, the affine transform between the two Siamese branches, for images, maps and valid masks.

Wang et al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 3.2, asks the network F to be
equivariant: F(A(I)) = A(F(I)). A is applied to images on one side and to score maps on the other,
at different resolutions. One object does both, so that the conventions agree. A is a rescale, then
a flip, a rotation about the center and a translation, each possibly the identity.

The paper tests all four; the authors' ``train_SEAM.py`` (https://github.com/YudeWang/SEAM) only
rescales: ``ViewTransform(scale=0.3)``, bilinear, align_corners=True, not antialiased.

Positions are relative to the *frame*, -1..1 from side to side, so that a map at any stride moves
with its image. Its sides are the centers of the outermost cells, as published. A rotation by a
multiple of 90 degrees rotates the frame too (height and width are swapped). Any other rotation
keeps the frame, and what enters it from outside is 0 and invalid. Lengths within the frame follow
from its ratio of width to height, which is the same for an image and its maps whenever the stride
divides the sides.

Flips and quarter turns move values without mixing them. Rescaling is one interpolation; any other
rotation, together with the translation, is a second one.

Shear, perspective and compositions in another order are not supported.
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
    """Transform from view 1 to view 2: rescale, flip, rotate, translate, in this order.

    The defaults are the published conventions; recipes have their own (``train_cam.views``).

    Args:
        scale: factor of the sides, > 0.
        flip: mirror left and right.
        rotate: degrees, counter-clockwise as seen.
        translate: shift ``(down, right)`` as a share of view 2's sides, each in (-1, 1).
        size_multiple: view 2's sides are rounded to the nearest multiple of this (at least one);
            1: rounded down to whole pixels (published).
        antialias: average over the pixels that fall into one when *images* shrink. Maps are smooth
            and never averaged. False: plain bilinear (published).

    Example:
        An image and its map at stride 8 go through the same transform.

        >>> import torch
        >>> from tag2mask.seam.transform import ViewTransform
        >>> published = ViewTransform(scale=0.3)
        >>> published.image(torch.rand(1, 3, 448, 448)).shape
        torch.Size([1, 3, 134, 134])
        >>> flip = ViewTransform(flip=True)
        >>> flip.maps(torch.tensor([[[[0.0, 0.5, 1.0]]]])).flatten()
        tensor([1.0000, 0.5000, 0.0000])
        >>> quarter_turn = ViewTransform(rotate=90)
        >>> quarter_turn.output_size(2, 5)
        (5, 2)
    """

    scale: float = 1.0
    flip: bool = False
    rotate: float = 0.0
    translate: tuple[float, float] = (0.0, 0.0)
    size_multiple: int = 1
    antialias: bool = False

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
    ) -> ViewTransform:
        """Draw a random transform; always takes five numbers from the generator.

        Args:
            generator: a CPU generator.
            scale: range of the factor; equal ends fix it.
            flip: probability of a flip.
            rotate: largest rotation either way, degrees.
            translate: largest shift either way, share of a side.
            size_multiple: as in the class.
            antialias: as in the class.
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
        )

    def output_size(self, h: int, w: int) -> tuple[int, int]:
        """Return the size (h, w) of view 2, px, for a view 1 of ``h`` x ``w``."""
        return self._turned(self._rescaled(h), self._rescaled(w))

    def image(self, x: Tensor) -> Tensor:
        """Transform images: A(I).

        Args:
            x: (b, c, h, w), any floating dtype; 0 on padding.

        Returns:
            (b, c, h', w') with ``output_size``, same dtype; ``x`` itself for the identity.
        """
        return self._apply(x, None, antialias=self.antialias)

    def maps(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Transform score maps from view 1's frame to view 2's: A(F(I)). Differentiable.

        Args:
            x: (b, c, h, w) at any resolution of view 1's frame.
            size: (h', w') of the result; None: ``output_size(h, w)``, right for maps at the
                image's own resolution.

        Returns:
            (b, c, h', w'), same dtype, 0 outside of view 1.
        """
        return self._apply(x, size, antialias=False)

    def valid(self, mask: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Transform a mask of valid pixels.

        Args:
            mask: bool (b, h, w), at any resolution of view 1's frame.
            size: as for `maps`.

        Returns:
            bool (b, h', w'), False where any pixel that `image` or `maps` interpolates from is
            invalid or outside of view 1.
        """
        assert mask.dtype == torch.bool and mask.ndim == 3, (mask.dtype, mask.shape)
        share = self._apply(mask[:, None].float(), size, antialias=self.antialias)
        return share[:, 0] >= _SUPPORT

    def inverse(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Transform maps of view 2's frame back to view 1's. Differentiable.

        Args:
            x: (b, c, h', w') at any resolution of view 2's frame.
            size: (h, w) of the result in view 1's frame.

        Returns:
            (b, c, h, w), same dtype, 0 outside of view 2. Exact for flips and quarter turns at an
            unchanged size.
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
        """The rotation in radians, 0 if it is a multiple of 90 degrees."""
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
            # torch's antialiasing always places samples as for align_corners=False. Two matrix
            # products are correct, and as fast.
            rows = _triangle_weights(h, size[0], x.device)
            columns = _triangle_weights(w, size[1], x.device)
            return resize_by_matrices(x, rows, columns)
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)

    def _sample(self, x: Tensor, angle: float, *, backward: bool) -> Tensor:
        """Rotate by ``angle`` (rad) about the center, then translate; or the inverse of both."""
        h, w = x.shape[2], x.shape[3]
        v = _cell_positions(h, x.device)[:, None]
        u = _cell_positions(w, x.device)[None, :]
        down, right = 2.0 * self.translate[0], 2.0 * self.translate[1]
        sine, cosine, ratio = math.sin(angle), math.cos(angle), w / h
        # grid_sample takes the source of each pixel of the result: the inverse of the transform.
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
                align_corners=True,
            )
        return sampled.to(x.dtype)


def _cell_positions(count: int, device: torch.device) -> Tensor:
    """Return the positions of the cells' centers in the frame, -1..1, (count,)."""
    index = torch.arange(count, dtype=torch.float64, device="cpu")
    positions = 2.0 * index / max(count - 1, 1) - (1.0 if count > 1 else 0.0)
    return positions.to(device, torch.float32)


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # cached tensors must be usable in training too
def _triangle_weights(before: int, after: int, device: torch.device) -> Tensor:
    """Return the weights (after, before) of an antialiased resize: a triangle filter.

    Its half width is one cell of the coarser grid, so enlarging is plain bilinear.
    """
    step = (before - 1) / (after - 1) if after > 1 else 0.0
    centers = torch.arange(after, dtype=torch.float64) * step
    width = max(step, 1.0) if after > 1 else float(before)
    distance = (centers[:, None] - torch.arange(before, dtype=torch.float64)[None, :]).abs()
    weights = (1.0 - distance / width).clamp(min=0.0)
    return (weights / weights.sum(dim=1, keepdim=True)).to(device, torch.float32)
