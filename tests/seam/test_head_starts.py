"""Several starts of a CAM head: the network's logits, heads apart, the mean of the best."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from tag2mask.nn.backbones.base import Backbone, Features
from tag2mask.seam.cam_head import TOP_CELLS, Pooling, best_cells
from tag2mask.seam.head_starts import (
    CellStatistics,
    ChosenHead,
    HeadStarts,
    mean_of_best,
    set_head,
)
from tag2mask.seam.network import SeamNet


class Identity(torch.nn.Module):
    """A backbone whose features are the image."""

    channels, stride, mid_strides, size_multiple = (3, 3, 3), 1, (1, 1), 1
    mean = std = (0.5, 0.5, 0.5)

    def forward(self, image: Tensor) -> Features:
        return Features(image, image, image)

    def frozen(self) -> list[torch.nn.Parameter]:
        return []


def heads_of(starts: int, *, cells: int = 4, seed: int = 0) -> HeadStarts:
    torch.manual_seed(seed)
    statistics = CellStatistics(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([4.0, 0.25, 1.0]))
    return HeadStarts(statistics, num_classes=2, starts=starts, best_cells=cells, eps=1e-5)


@pytest.mark.parametrize("pooling", ["max", "top"])
def test_the_network_has_the_logits_of_the_head(pooling: Pooling) -> None:
    heads = heads_of(1, cells=best_cells(pooling))
    with torch.no_grad():
        heads.bias.copy_(torch.tensor([0.25, -1.0]))
    net = SeamNet(
        cast(Backbone, Identity()), 2, pcm=None, dropout=0.5, pooling=pooling, centered=True
    )
    statistics = CellStatistics(heads.mean, heads.scale.square() - 1e-5)
    kept = torch.ones(2, dtype=torch.int64)
    set_head(net, ChosenHead(heads.weight.detach(), heads.bias.detach(), kept), statistics)
    photo = torch.randn(1, 3, 9, 7)
    output = net.eval()(photo, own_grid=True)
    torch.testing.assert_close(output.logits, heads.logits([photo[0]]))
    assert output.cam[0, 0].abs().max() == 0


def test_logits_of_photos_smaller_than_the_best_cells() -> None:
    heads = heads_of(2)
    tiny = torch.randn(3, 1, 2)
    assert TOP_CELLS == best_cells("top") > 2
    assert heads.logits([tiny, torch.randn(3, 5, 6)]).shape == (2, 4)
    mean = (tiny.flatten(1).mean(dim=1) - heads.mean) / heads.scale
    torch.testing.assert_close(heads.logits([tiny])[0], heads.weight @ mean + heads.bias)


def test_no_head_changes_another() -> None:
    photos = [torch.randn(3, 6, 6) for _ in range(4)]
    tags = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    several, alone = heads_of(3), heads_of(1)
    with torch.no_grad():
        alone.weight.copy_(several.weight[2:4])  # of the second start
    for heads in (several, alone):
        optimizer = torch.optim.AdamW(heads.parameters(), lr=0.05)
        for _ in range(5):
            optimizer.zero_grad()
            loss = heads(photos, tags)["cls"]
            (loss.total / loss.count).backward()
            optimizer.step()
    torch.testing.assert_close(several.weight[2:4], alone.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(several.bias[2:4], alone.bias, rtol=1e-4, atol=1e-5)


def test_the_directions_of_the_best_are_averaged() -> None:
    heads = heads_of(3)
    weight = torch.zeros(3, 2, 3)
    weight[:, 0] = torch.tensor([[3.0, 0, 0], [0, 1.0, 0], [-9.0, 0, 0]])
    weight[:, 1] = torch.tensor([[0, 0, 5.0], [1.0, 0, 0], [2.0, 0, 0]])
    with torch.no_grad():
        heads.weight.copy_(weight.reshape(6, 3))
        heads.bias.copy_(torch.tensor([1.0, 7.0, 2.0, 8.0, 3.0, 9.0]))
    precision = torch.tensor([[0.90, 0.2], [0.94, 0.8], [0.5, 0.81]], dtype=torch.float64)
    head = mean_of_best(heads, precision)
    assert head.kept.tolist() == [2, 2]
    torch.testing.assert_close(head.weight, torch.tensor([[1.0, 1.0, 0.0], [1.5, 0.0, 0.0]]))
    assert head.bias.tolist() == [1.5, 8.5]
    precision[:, 1] = torch.nan
    unknown = mean_of_best(heads, precision)
    assert unknown.kept.tolist() == [2, 3] and unknown.weight.isfinite().all()
