"""Tests of the CAM head: one convolution gives maps and logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tag2mask.seam.cam_head import (
    TOP_CELLS,
    CamHead,
    CellNorm,
    best_cells_average,
    class_logits,
)
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam, load_seam, save_seam


def test_the_mean_of_a_map_is_the_logit_of_its_class() -> None:
    """Pooling the CAM equals classifying pooled features, as Zhou et al. show."""
    torch.manual_seed(0)
    head, last = CamHead(4, num_classes=3), torch.randn(2, 4, 5, 6)
    cam = head(last)
    logits = class_logits(cam[:, None], cam.shape[2:], None)
    by_weights = last.mean(dim=(2, 3)) @ head.weight[1:, :, 0, 0].T
    assert logits.shape == (2, 1, 3)
    torch.testing.assert_close(logits[:, 0], by_weights)


def test_padding_and_the_background_do_not_enter_the_logits() -> None:
    """Only channels 1..C on the photo are averaged."""
    maps = torch.rand(1, 2, 4, 3, 6)
    valid = torch.zeros(1, 3, 6, dtype=torch.bool)
    valid[..., :4] = True
    logits = class_logits(maps, (3, 6), valid)
    torch.testing.assert_close(logits, maps[:, :, 1:, :, :4].mean(dim=(3, 4)))


def test_the_best_cells_are_the_logit_of_a_small_object() -> None:
    """A single bright cell is the logit under max, a quarter of it under top, nothing under avg."""
    maps = torch.zeros(1, 1, 3, 20, 30)
    maps[0, 0, 1, 7, 11] = 8.0
    maps[0, 0, 2] = -1.0
    logits = {
        pooling: class_logits(maps, (20, 30), None, pooling)[0, 0].tolist()
        for pooling in ("avg", "max", "top")
    }
    assert logits["max"] == [8.0, -1.0]
    assert logits["top"] == [8.0 / TOP_CELLS, -1.0]
    assert logits["avg"][0] < 0.02


def test_padding_is_never_a_best_cell() -> None:
    maps = torch.rand(2, 3, 4, 6)
    valid = torch.zeros(2, 4, 6, dtype=torch.bool)
    valid[0, :2, :1] = True  # fewer cells than are averaged
    valid[1] = True
    found = best_cells_average(maps, 4, valid)
    torch.testing.assert_close(found[0], maps[0, :, :2, 0].mean(dim=1))
    torch.testing.assert_close(found[1], maps[1].flatten(1).topk(4).values.mean(dim=1))
    assert not best_cells_average(maps, 4, torch.zeros_like(valid)).any()


def test_only_the_best_cells_get_a_gradient() -> None:
    maps = torch.rand(1, 2, 5, 5, dtype=torch.bfloat16).requires_grad_()
    best_cells_average(maps, 3, torch.ones(1, 5, 5, dtype=torch.bool)).sum().backward()
    assert maps.grad is not None
    assert (maps.grad != 0).flatten(2).sum(dim=2).tolist() == [[3, 3]]


def test_padding_does_not_enter_the_normalization() -> None:
    torch.manual_seed(0)
    norm, maps = CellNorm(4), 5 + torch.randn(3, 4, 8, 8)
    valid = torch.zeros(3, 16, 16, dtype=torch.bool)
    valid[:, :, :10] = True
    found = norm(maps, valid)
    cells = maps[..., :5].movedim(1, 3).reshape(-1, 4)
    wanted = (cells - cells.mean(0)) / cells.std(0, unbiased=False)
    torch.testing.assert_close(
        found[..., :5].movedim(1, 3).reshape(-1, 4), wanted, atol=1e-4, rtol=0
    )
    assert not found[..., 5:].any()
    torch.testing.assert_close(norm.running_mean, 0.1 * cells.mean(0))
    norm.eval()
    torch.testing.assert_close(norm(maps)[..., :5], norm(maps, valid)[..., :5])


def test_a_model_file_without_the_normalization_is_read(tmp_path: Path) -> None:
    """As files were before there was one."""
    spec = replace(
        OFFICIAL_SEAM, backbone="test_efficientnet", output_stride=16, pcm=False, pooling="top"
    )
    for centered in (False, True):
        written = replace(spec, centered=centered)
        save_seam(tmp_path / "model.safetensors", build_seam(written), written)
        net, found = load_seam(tmp_path / "model.safetensors")
        assert found == written
        assert (net.head_norm is not None) == centered


def test_a_model_file_keeps_the_pooling(tmp_path: Path) -> None:
    spec = replace(
        OFFICIAL_SEAM, backbone="test_efficientnet", output_stride=16, pcm=False, pooling="top"
    )
    save_seam(tmp_path / "model.safetensors", build_seam(spec), spec)
    net, found = load_seam(tmp_path / "model.safetensors")
    assert net.pooling == found.pooling == "top"
