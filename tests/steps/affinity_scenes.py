"""Photos, labels and networks for tests of the steps of AffinityNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scenes import Scene

from tag2mask.affinity.labels import label_path
from tag2mask.affinity.marginals import marginals_path, write_marginals
from tag2mask.affinity.network import AffinitySpec, build_affinity_net, save_affinity_net
from tag2mask.artifacts.handles import AffinityLabels, AffinityModel, PreparedData
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample, read_classes, read_index
from tag2mask.data.masks import write_mask
from tag2mask.maps.cam_map import CamMap, write_map

SPEC = AffinitySpec("test_efficientnet", 16, None, levels=(4, 4, 8), radius=5)
"""A network of 100,000 weights; its affinities have stride 8."""


def paint(scene: Scene) -> Scene:
    """Write the photos of a scene: objects in the colors of their classes on noise."""
    rng = np.random.default_rng(1)
    colors = np.array([(60, 60, 60), (200, 40, 40), (40, 200, 40), (40, 40, 200)], np.float64)
    for samples in scene.samples.values():
        for sample in samples:
            truth = scene.truths[sample.id]
            pixels = colors[np.where(truth == 255, 0, truth)] + rng.normal(0, 8, (*truth.shape, 3))
            save(sample.image, np.clip(pixels, 0, 255).astype(np.uint8))
    return scene


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")


def one_photo(root: Path, pixels: np.ndarray, tags: tuple[int, ...], scores: np.ndarray) -> Scene:
    """A scene of one training photo and its map."""
    size = (pixels.shape[0], pixels.shape[1])
    sample = Sample("only", root / "photos" / "only.jpg", size, tags, "1-1")
    scene = Scene(root, {"train": [sample], "val": []}, {}, set())
    scene.write()
    save(sample.image, pixels)
    probabilities = np.full(3, 0.5, np.float32)
    scene.map_path("only").parent.mkdir(parents=True, exist_ok=True)
    write_map(
        scene.map_path("only"), CamMap("only", tags, scores.astype(np.float32), size, probabilities)
    )
    return scene


def drawn_labels(
    data: PreparedData,
    out: Path,
    unsure: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    *,
    marginals: bool = False,
) -> AffinityLabels:
    """Labels of the training photos: a class on the left, background on the right, 255 between.

    Args:
        data: the photos.
        out: the folder to write.
        unsure: ids of photos that are 255 all over.
        without: ids of photos that get no labels, and are said to be left out.
        marginals: whether to write marginals of the CRFs that give the same labels.
    """
    classes = ClassSet(read_classes(data.path).names)
    section = {"unsure": unsure, "without": without}
    with step_folder(AffinityLabels, out, section=section, coverage={"data": data}) as step:
        for sample in read_index(data.path, "train"):
            labels = np.full(sample.size, 255, np.uint8)
            if sample.id not in unsure:
                third = sample.size[1] // 3
                labels[:, :third] = 1 + (sample.tags[0] if sample.tags else -1)
                labels[:, 2 * third :] = 0
            if sample.id not in without:
                write_mask(label_path(out, sample.id), labels, classes.colors)
            if marginals:
                ids = [0, *(tag + 1 for tag in sample.tags)]
                strong, weak = (
                    np.array([np.where(labels == 255, unsure_id, labels) == i for i in ids])
                    for unsure_id in (0, ids[-1])
                )
                write_marginals(marginals_path(out, sample.id), strong, weak, sample.tags)
        return step.finish(skipped=[f"{photo}: cut off" for photo in without])


def affinity_model(out: Path, *, seed: int = 0, spoilt: bool = False) -> AffinityModel:
    """Write an untrained AffinityNet, optionally with weights that aren't finite."""
    torch.manual_seed(seed)
    net = build_affinity_net(SPEC)
    if spoilt:
        with torch.no_grad():
            net.fuse.weight[0, 0] = float("nan")
    with step_folder(AffinityModel, out, section={"seed": seed}) as step:
        if not step.complete:
            save_affinity_net(out / "model.safetensors", net, SPEC)
            step.finish()
    return AffinityModel.open(out)
