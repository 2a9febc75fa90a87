"""How far a recipe shrinks photos, and the smallest object that its maps can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tag2mask.recipe.schema import Recipe


@dataclass(frozen=True)
class SeenSizes:
    """What the networks of a recipe see of a photo; factors are photo px per px of the network.

    Attributes:
        photo: long side of the photo, px.
        training: factor in the training of the CAM network, at its largest long side.
        maps: factor at the largest view of ``infer-cam``.
        masks: factor at the largest view of the segmentation network; None: the run has none.
        cell: side of a cell of the CAM, px of the network.
    """

    photo: int
    training: float
    maps: float
    masks: float | None
    cell: int

    @property
    def smallest_object(self) -> float:
        """Side of a cell of the CAM in the photo, px; smaller objects share theirs."""
        return self.cell * max(self.training, self.maps)


def seen_sizes(recipe: Recipe, long_side: int) -> SeenSizes:
    """Return what the networks of a recipe see of a photo with this long side, px."""
    train, infer = recipe.train_cam, recipe.infer_cam
    return SeenSizes(
        photo=long_side,
        training=1.0 if train.long_side is None else long_side / train.long_side[1],
        maps=_factor(long_side, infer.long_side, infer.scales),
        masks=_masks_factor(recipe, long_side),
        cell=train.backbone.likely_stride,
    )


def _masks_factor(recipe: Recipe, long_side: int) -> float | None:
    if not recipe.train_segmenter.enabled:
        return None
    side = recipe.predict.side(recipe.train_segmenter.long_side)
    return _factor(long_side, side, recipe.predict.scales)


def _factor(photo: int, side: int | None, scales: Sequence[float]) -> float:
    """Return photo px per px of the largest view; ``side`` None: the photo's own."""
    return photo / (side or photo) / max(scales)


def seen_objects(recipe: Recipe, sizes: Sequence[tuple[int, int]]) -> str:
    """Return a line that says how far a recipe shrinks photos, and the smallest object it sees.

    Args:
        recipe: the settings.
        sizes: (h, w) px of some photos; the median long side counts. Empty: an empty line.

    A run that is given masks has no maps; the line then names the segmentation network alone.

    Example:
        >>> from tag2mask.pipeline.object_sizes import seen_objects
        >>> from tag2mask.recipe.loading import load_recipe
        >>> seen_objects(load_recipe("lite0-cpu"), [(2048, 2448)])  # doctest: +NORMALIZE_WHITESPACE
        'objects: smaller than about 102 px are hard to see: photos of 2448 px are shrunk 6.4 times
        to train the CAM network, shrunk 3.2 times for its maps and shrunk 7.7 times for the
        segmentation network; a cell of the CAM is 16 px'
    """
    if not sizes:
        return ""
    sides = sorted(max(size) for size in sizes)
    seen = seen_sizes(recipe, sides[len(sides) // 2])
    if recipe.masks is not None and seen.masks is not None:
        changed = _times(seen.masks)
        return f"objects: photos of {seen.photo} px are {changed} the segmentation network"
    steps = [f"{_change(seen.training)} to train the CAM network", f"{_times(seen.maps)} its maps"]
    if seen.masks is not None:
        steps.append(f"{_times(seen.masks)} the segmentation network")
    listed = ", ".join(steps[:-1]) + f" and {steps[-1]}"
    return (
        f"objects: smaller than about {seen.smallest_object:.0f} px are hard to see: photos of "
        f"{seen.photo} px are {listed}; a cell of the CAM is {seen.cell} px"
    )


def _change(factor: float) -> str:
    if f"{factor:.1f}" == "1.0":
        return "not resized"
    return f"shrunk {factor:.1f} times" if factor > 1 else f"enlarged {1 / factor:.1f} times"


def _times(factor: float) -> str:
    return f"{_change(factor)} for"
