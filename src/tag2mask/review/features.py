"""Features of photos from the CAM network, of which their similarity is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tag2mask.data.images import read_image
from tag2mask.errors import DataError
from tag2mask.review.folder import ReviewPhoto
from tag2mask.runtime.progress import ProgressBar
from tag2mask.seam.model import load_backbone

SIDE = 224
"""Side, px, to which photos are resized: similarity needs no details."""


def photo_features(model: Path, photos: Sequence[ReviewPhoto]) -> dict[str, NDArray[np.float32]]:
    """Return the last feature maps of photos, averaged over all cells, by photo id.

    Args:
        model: the file of the CAM network.
        photos: unreadable ones are left out.

    Raises:
        WeightsError: the model can't be read.
    """
    backbone = load_backbone(model)
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    side = -(-SIDE // backbone.size_multiple) * backbone.size_multiple
    found: dict[str, NDArray[np.float32]] = {}
    with ProgressBar(len(photos), "similarity of photos", only_if_long=True) as bar:
        for photo in photos:
            bar.advance()
            try:
                image = read_image(photo.image, at_least=side).resize((side, side))
            except DataError:
                continue
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
            with torch.inference_mode():
                last = backbone(((pixels - mean) / std)[None]).last
            found[photo.id] = last.mean(dim=(2, 3))[0].numpy()
    return found
