"""Logits of the segmentation network equal the authors', from a checkpoint in their format."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from reference.inputs import at_stored_pixels, reference_values
from tag2mask.segmentation.deeplab_v1 import DeepLabV1


def test_logits_equal_the_authors(deeplab: DeepLabV1, reference: Path) -> None:
    values = reference_values(reference, "deeplabv1.npz")
    image, logits = torch.from_numpy(values["image"]), torch.from_numpy(values["logits"])
    with torch.no_grad():
        found = deeplab(image)
    torch.testing.assert_close(at_stored_pixels(found, logits), logits, atol=1e-4, rtol=0)


def test_names_are_the_authors(deeplab: DeepLabV1, reference: Path) -> None:
    shapes = json.loads((reference / "deeplabv1_resnet38_shapes.json").read_text())
    own = {name: list(tensor.shape) for name, tensor in deeplab.state_dict().items()}
    assert own == shapes
