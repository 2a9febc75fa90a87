"""Maps of a run, refined without training: image prototypes, superpixel votes or PAR.

    python -m benchmarks.experiments.tags_alone.refined_maps RUN SOURCE
        --method prototypes|superpixels|par [--step infer-cam|walk] [--share 0.5]

SOURCE is a finished run. RUN is one that has taken its steps up to ``--step`` (``tag2mask run
--from SOURCE --out RUN --until infer-cam``). The maps of that step in RUN are replaced by those of
SOURCE after the refinement, which counts the share ``--share`` (superpixels: half, others: all).
The later steps are then made by ``tag2mask run --out RUN``. Repeated, the command changes nothing.

* ``prototypes``: `image_prototypes`, with the CAM network of SOURCE.
* ``superpixels``: each pixel has the mean score of its superpixel (Felzenszwalb and Huttenlocher,
  IJCV 2004), of about 100 to 200 in a photo of 500 px.
* ``par``: `benchmarks.experiments.tags_alone.par` on the grid of the maps.

Maps before the walk are scaled to a maximum of 1 per class afterwards, as they were. Those after it
are not: there a class exceeds 0.5 where it exceeds the background.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from skimage.segmentation import felzenszwalb

from benchmarks.experiments.tags_alone import par
from benchmarks.experiments.tags_alone.image_prototypes import ImagePrototypes
from tag2mask.artifacts.handles import AnyMaps, CamMaps, CamModel, PreparedData, WalkedMaps
from tag2mask.data.index import Sample
from tag2mask.data.photos import read_photo
from tag2mask.maps.cam_map import CamMap, read_map, write_map
from tag2mask.maps.mapped_photos import mapped_photos
from tag2mask.nn.inference_copy import inference_copy
from tag2mask.recipe.loading import load_recipe
from tag2mask.runtime.threads import ordered_map
from tag2mask.seam.model import load_seam

Float32 = npt.NDArray[np.float32]
Refine = Callable[[CamMap, Image.Image], Float32]
"""Returns the refined scores of a map on its grid."""
STEPS: dict[str, type[CamMaps] | type[WalkedMaps]] = {
    "infer-cam": CamMaps,
    "walk": WalkedMaps,
}
SCALE, SIGMA, SMALLEST = 100, 0.5, 200
"""Felzenszwalb's scale and blur, and the smallest superpixel, px."""


def superpixel_means(cam_map: CamMap, photo: Image.Image) -> Float32:
    """Return the mean score of each pixel's superpixel, on the grid of the map."""
    segments = felzenszwalb(np.asarray(photo), scale=SCALE, sigma=SIGMA, min_size=SMALLEST)
    sizes = np.bincount(segments.ravel())
    means = [
        (np.bincount(segments.ravel(), weights=score.ravel()) / sizes)[segments]
        for score in cam_map.full_scores()
    ]
    full = torch.from_numpy(np.stack(means).astype(np.float32))[None]
    grid: Float32 = torch.nn.functional.adaptive_avg_pool2d(full, cam_map.scores.shape[1:])[
        0
    ].numpy()
    return grid


def local_means(cam_map: CamMap, photo: Image.Image) -> Float32:
    """Return the scores after PAR."""
    height, width = cam_map.scores.shape[1:]
    return par.refine(np.array(photo.resize((width, height))), cam_map.scores)


def method(name: str, source: Path) -> Refine:
    """Return a refinement by name."""
    if name == "superpixels":
        return superpixel_means
    if name == "par":
        return local_means
    recipe = load_recipe(str(source / "recipe.yaml"))
    net, _ = load_seam(CamModel.open(source / CamModel.step).file)
    copy = inference_copy(net, torch.device("cpu"))
    return ImagePrototypes(copy.backbone, recipe.infer_cam.long_side).refine


def refined(
    cam_map: CamMap, photo: Image.Image, refine: Refine, share: float, *, scaled: bool
) -> CamMap:
    """Return a map after a refinement that counts a share.

    Args:
        cam_map: the map.
        photo: its photo.
        refine: the refinement.
        share: of the refined scores.
        scaled: whether each class is scaled to a maximum of 1 afterwards.
    """
    scores = (1 - share) * cam_map.scores + np.float32(share) * refine(cam_map, photo)
    if scaled:
        highest = scores.max(axis=(1, 2), keepdims=True)
        scores = scores / np.where(highest > 0, highest, np.float32(1))
    return replace(cam_map, scores=np.clip(scores, 0, 1).astype(np.float32))


def refine_maps(
    run: Path, source: Path, refine: Refine, share: float, kind: type[CamMaps] | type[WalkedMaps]
) -> int:
    """Replace the maps of a step of a run; return how many changed.

    Raises:
        RunFolderError: a step is missing or unfinished, or a map can't be written.
        DataError: a map or photo is missing, damaged or of something else.
    """
    data = PreparedData.open(source / PreparedData.step)
    maps: AnyMaps = kind.open(source / kind.step)
    target: AnyMaps = kind.open(run / kind.step)
    photos, replaced = mapped_photos(data, maps), mapped_photos(data, target)

    def one(sample: Sample) -> bool:
        old = photos.read(sample)
        if not old.tags:
            return False
        new = refined(old, read_photo(sample), refine, share, scaled=kind is CamMaps)
        path = replaced.path(sample.id)
        # Later steps redo the photos whose map is written again.
        if np.array_equal(new.as_stored().scores, read_map(path).scores):
            return False
        write_map(path, new)
        return True

    samples = [sample for split in photos.splits.values() for sample in split]
    return sum(ordered_map(one, samples))


def main(words: Sequence[str] | None = None) -> None:
    """Replace the maps and print how many changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--method", choices=("prototypes", "superpixels", "par"), required=True)
    parser.add_argument("--step", choices=STEPS, default=CamMaps.step)
    parser.add_argument("--share", type=float)
    options = parser.parse_args(words)
    share = options.share
    if share is None:
        share = 0.5 if options.method == "superpixels" else 1.0
    changed = refine_maps(
        options.run,
        options.source,
        method(options.method, options.source),
        share,
        STEPS[options.step],
    )
    print(f"{changed} maps changed")


if __name__ == "__main__":
    main()
