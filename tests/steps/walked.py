"""Small runs with a random walk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scenes import Scene

from tag2mask.artifacts.handles import CamMaps, WalkedMaps
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import Sample
from tag2mask.maps.cam_map import CamMap, read_map, write_map

ABSENT = np.full(3, 0.1, np.float32)


def drawn_by(
    scene: Scene,
    branch: str = "refined",
    name: str = "infer-cam",
    source: str = "infer-cam",
    **metrics: str,
) -> CamMaps:
    """Copy the maps of ``source`` to a folder that names another branch."""
    folder = scene.root / name
    with step_folder(
        CamMaps, folder, section={"branch": branch, "name": name}, coverage={"data": scene.data}
    ) as step:
        for path in (scene.root / source / "maps").rglob("*.npz"):
            to = folder / path.relative_to(scene.root / source)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
        return step.finish(metrics={"tags": "known", "branch": branch, **metrics})


def walked(
    scene: Scene,
    maps: CamMaps,
    scores: dict[str, np.ndarray] | None = None,
    *,
    name: str = "walk",
    **metrics: object,
) -> WalkedMaps:
    """Write a folder of ``walk`` with given scores by photo, by default slightly sharper maps."""
    folder = scene.root / name
    with step_folder(
        WalkedMaps,
        folder,
        section={},
        inputs={"model": "of AffinityNet"},
        coverage={"data": scene.data, "maps": maps},
    ) as step:
        for path in sorted((maps.path / "maps").rglob("*.npz")):
            before = read_map(path)
            after = before.scores**0.5 if scores is None else scores[before.id]
            to = folder / path.relative_to(maps.path)
            to.parent.mkdir(parents=True, exist_ok=True)
            write_map(to, replace(before, scores=after.astype(np.float32)), "float16")
        return step.finish(metrics={"tags": "known", **metrics})


def photographed(scene: Scene) -> Scene:
    """Write the photos of a scene: each class in its own color, with noise."""
    rng = np.random.default_rng(1)
    for sample in (s for samples in scene.samples.values() for s in samples):
        sample.image.parent.mkdir(parents=True, exist_ok=True)
        truth = scene.truths[sample.id] % 255
        pixels = np.array([[60, 90, 60], [200, 80, 40], [40, 80, 200], [220, 200, 60]])[truth]
        noisy = np.clip(pixels + rng.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(sample.image)
    return scene


TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 255]], np.uint8)
SEAM = np.array([[[0.8, 0.4, 0.2, 0.0], [0.6, 0.2, 0.6, 1.0]]], np.float32)
WALKED = np.array([[[0.9, 0.7, 0.2, 0.1], [0.8, 0.6, 0.25, 0.9]]], np.float32)


def eight_pixels(root: Path) -> tuple[Scene, CamMaps, WalkedMaps]:
    """One training photo of 4 x 2 px and a cat; its threshold before the walk is 0.25."""
    sample = Sample("a", root / "photos" / "a.jpg", TRUTH.shape, (0,), "1-1")
    other = Sample("b", root / "photos" / "b.jpg", TRUTH.shape, (0,), "1-1")
    scene = Scene(
        root,
        {"train": [sample, other], "val": []},
        {"a": TRUTH, "b": np.zeros_like(TRUTH)},
        {"a", "b"},
    )
    scene.write()
    photographed(scene)
    for one, scores in ((sample, SEAM), (other, np.zeros_like(SEAM))):
        scene.map_path(one.id).parent.mkdir(parents=True, exist_ok=True)
        write_map(scene.map_path(one.id), CamMap(one.id, one.tags, scores, one.size, ABSENT))
    maps = drawn_by(scene, name="seam")
    after = walked(
        scene,
        maps,
        {"a": WALKED, "b": np.zeros_like(SEAM)},
        background_threshold=0.25,
        background_source="estimated",
        alpha=4.8188,
    )
    return scene, maps, after
