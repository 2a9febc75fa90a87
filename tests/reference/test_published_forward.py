"""Maps of the network equal the authors' (1e-4), from a checkpoint in their format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tag2mask.seam.network import SeamNet

TOLERANCE = 1e-4
VIEW2_SCALE = 0.3


@pytest.mark.parametrize("view", [1, 2])
def test_maps_equal_the_authors(network: SeamNet, reference: Path, view: int) -> None:
    with np.load(reference / "seam_forward.npz") as values:
        image = torch.from_numpy(values["image"])
        plain = torch.from_numpy(values[f"cam{view}_raw"])
        refined = torch.from_numpy(values[f"cam_rv{view}_raw"])
    if view == 2:
        image = F.interpolate(image, scale_factor=VIEW2_SCALE, mode="bilinear", align_corners=True)
    with torch.no_grad():
        pair = network(image)
    assert pair.refined is not None
    torch.testing.assert_close(pair.cam, plain, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(pair.refined, refined, atol=TOLERANCE, rtol=0)
