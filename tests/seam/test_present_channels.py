"""Maps without the channels of absent classes give the same terms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tag2mask.nn.masked_resize import cells_inside, global_average, resize, resized_average
from tag2mask.seam import losses
from tag2mask.seam.objective import present_channels

CLASSES = 6
TAGS = (
    st.lists(st.lists(st.booleans(), min_size=CLASSES, max_size=CLASSES), min_size=1, max_size=4)
    .map(torch.tensor)
    .map(Tensor.float)
)
SIDES = st.integers(1, 9)


@settings(max_examples=25, deadline=None)
@given(TAGS)
def test_channels_hold_background_and_every_tag(tags: Tensor) -> None:
    channels = present_channels(tags)
    assert channels.shape == (len(tags), 1 + max(1, int(tags.sum(1).max())))
    assert (channels[:, 1:] > channels[:, :-1]).all() and not channels[:, 0].any()
    assert channels.max() <= CLASSES
    for row, kept in zip(tags, channels, strict=True):
        assert set((row.nonzero().flatten() + 1).tolist()) <= set(kept.tolist())


@settings(max_examples=25, deadline=None)
@given(TAGS, st.booleans(), st.sampled_from([0.05, 0.2, 0.7, 1.0]), st.integers(0, 99))
def test_terms_are_the_same(tags: Tensor, masked: bool, top: float, seed: int) -> None:
    torch.manual_seed(seed)
    batch = len(tags)
    present = torch.cat([torch.ones(batch, 1), tags], dim=1)[:, :, None, None]
    one, other = (torch.rand(batch, CLASSES + 1, 5, 4) * present for _ in range(2))
    valid = torch.rand(batch, 5, 4) > 0.3 if masked else None
    channels = present_channels(tags)

    def kept(maps: Tensor) -> Tensor:
        return maps.gather(1, channels[:, :, None, None].expand(-1, -1, 5, 4))

    few = tags.gather(1, channels[:, 1:] - 1)
    pairs = [
        (
            losses.equivariance(one, other, tags, valid),
            losses.equivariance(kept(one), kept(other), few, valid, num_classes=CLASSES),
        ),
        (
            losses.cross_equivariance(one, other, tags, top=top, valid=valid),
            losses.cross_equivariance(
                kept(one), kept(other), few, top=top, valid=valid, num_classes=CLASSES
            ),
        ),
        (losses.min_pooling(one, tags, valid), losses.min_pooling(kept(one), few, valid)),
    ]
    for full, part in pairs:
        assert part.count == full.count
        assert part.total.item() == pytest.approx(full.total.item(), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(SIDES, SIDES, st.tuples(SIDES, SIDES), st.booleans())
def test_average_without_resizing(h: int, w: int, size: tuple[int, int], masked: bool) -> None:
    torch.manual_seed(h * 10 + w)
    maps = torch.randn(2, 3, h, w)
    valid = torch.rand(2, 12, 12) > 0.3 if masked else None
    inside = None if valid is None else cells_inside(valid, size)
    expected = global_average(resize(maps, size, valid), inside)
    torch.testing.assert_close(resized_average(maps, size, valid), expected, atol=1e-5, rtol=1e-4)
