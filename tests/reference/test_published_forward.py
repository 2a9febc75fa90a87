"""Maps of the network equal the authors' (1e-4), from a checkpoint in their format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from reference.inputs import at_stored_pixels, reference_values
from tag2mask.seam.network import SeamNet

TOLERANCE = 1e-4
VIEW2_SCALE = 0.3


@pytest.mark.parametrize("view", [1, 2])
def test_maps_equal_the_authors(network: SeamNet, reference: Path, view: int) -> None:
    values = reference_values(reference, "seam_forward.npz")
    image = torch.from_numpy(values["image"])
    if view == 2:
        image = F.interpolate(image, scale_factor=VIEW2_SCALE, mode="bilinear", align_corners=True)
    with torch.no_grad():
        pair = network(image)
    assert pair.refined is not None
    for found, name in ((pair.cam, f"cam{view}_raw"), (pair.refined, f"cam_rv{view}_raw")):
        stored = torch.from_numpy(values[name])
        torch.testing.assert_close(
            at_stored_pixels(found, stored), stored, atol=TOLERANCE, rtol=0, msg=name
        )
