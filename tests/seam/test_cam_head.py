"""Tests of the CAM head: one convolution gives maps and logits."""

from __future__ import annotations

import torch

from tag2mask.seam.cam_head import CamHead, class_logits


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
