"""PCM's refined maps equal the authors' (1e-5), for tiles of any size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reference.inputs import at_stored_pixels, reference_values
from tag2mask.seam.network import SeamNet
from tag2mask.seam.pcm import correlate

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def values(reference: Path) -> dict[str, Tensor]:
    arrays = reference_values(reference, "pcm.npz")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def test_refined_maps_equal_the_authors(network: SeamNet, values: dict[str, Tensor]) -> None:
    assert network.pcm is not None
    with torch.no_grad():
        refined = network.pcm.refine(values["cam"], values["features"])
    stored = values["refined"]
    torch.testing.assert_close(at_stored_pixels(refined, stored), stored, atol=TOLERANCE, rtol=0)


def test_blocks_change_nothing(network: SeamNet, values: dict[str, Tensor]) -> None:
    assert network.pcm is not None
    with torch.no_grad():
        fused = network.pcm.fuse(values["features"])
        refined = correlate(values["cam"], fused, power=1.0, block_mib=0)  # smallest tiles
    stored = values["refined"]
    torch.testing.assert_close(at_stored_pixels(refined, stored), stored, atol=TOLERANCE, rtol=0)
