"""mIoU and time of ``infer-cam`` with fewer views.

    python -m benchmarks.experiments.inference_views RUN [--split val]

RUN is a run with a trained CAM network. Each photo of the split is labeled with every set of views;
tags are given. Prints, after every 50 photos and at the end, mIoU at the best background threshold,
that threshold, and processor seconds per photo on one thread.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import torch

from tag2mask.data.images import read_image
from tag2mask.data.index import read_classes, read_index, read_mask_paths
from tag2mask.data.masks import read_mask
from tag2mask.maps.cam_map import CamMap
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.nn.inference_copy import inference_copy
from tag2mask.recipe.loading import load_recipe
from tag2mask.runtime.session import Runtime
from tag2mask.seam.model import load_seam
from tag2mask.seam.multi_scale_inference import MultiScaleInference
from tag2mask.steps.infer_cam import inference_settings

SCALES = ("1,1.5,2", "1,1.5", "1,2", "1,1.75", "1.5", "0.75,1.25,1.75", "1.5,2")
THRESHOLDS = [i / 100 for i in range(100)]
CPU = torch.device("cpu")


def main() -> None:
    """Label the photos of a split with every set of views, and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", choices=("train", "val"), default="val")
    options = parser.parse_args()
    runtime = Runtime.start(device="cpu", threads=1)
    prepared = options.run / "prepare"
    classes, masks = len(read_classes(prepared)), read_mask_paths(prepared)
    views = _inferences(options.run / "train-cam" / "model.safetensors", runtime)
    curves = {name: ThresholdCurve.empty(classes, THRESHOLDS) for name in views}
    seconds = dict.fromkeys(views, 0.0)
    samples = read_index(prepared, options.split)
    for done, sample in enumerate(samples, 1):
        photo, mask = read_image(sample.image), read_mask(masks[sample.id], classes)
        for name, inference in views.items():
            start = time.process_time()
            (maps,) = inference.maps([photo], [sample.tags], [sample.size])
            seconds[name] += time.process_time() - start
            scores = maps.scores.clip(0, 1)
            cam_map = CamMap(sample.id, maps.tags, scores, sample.size, maps.probabilities)
            curves[name].add(mask, cam_map.tags, cam_map.full_scores())
        if done % 50 == 0 or done == len(samples):
            print(f"{done} photos")
            for name, curve in curves.items():
                threshold, miou = curve.best()
                print(f"{name}: {100 * miou:.2f} at {threshold:.2f}, {seconds[name] / done:.2f} s")


def _inferences(model: Path, runtime: Runtime) -> dict[str, MultiScaleInference]:
    """Return the inference of each set of views, with and without mirror images."""
    net, _ = load_seam(model)
    copy = inference_copy(net, CPU)
    autocast = partial(runtime.autocast, "auto")
    found = {}
    for scales in SCALES:
        for flip in ("true", "false"):
            settings = [f"infer_cam.scales=[{scales}]", f"infer_cam.flip={flip}"]
            section = load_recipe("lite0-cpu", settings).infer_cam
            name = f"{scales}, {'mirrored too' if flip == 'true' else 'not mirrored'}"
            found[name] = MultiScaleInference(copy, inference_settings(net, section), CPU, autocast)
    return found


if __name__ == "__main__":
    main()
