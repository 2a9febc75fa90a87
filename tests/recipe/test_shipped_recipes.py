"""Shipped recipes: each builds and trains its networks, and ``tiny`` runs every step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from small_runs import call, one_rank, prepared, write_photos
from tag2mask.affinity.network import build_affinity_net
from tag2mask.artifacts.handles import CamMaps, Evaluation, PseudoMaskFolder, WalkedMaps
from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.data.demo.scenes import make_demo_data
from tag2mask.data.index import Sample
from tag2mask.nn.model_file import read_spec
from tag2mask.pipeline.training_costs import training_steps
from tag2mask.recipe.loading import load_recipe, shipped_recipes
from tag2mask.seam.model import SEAM_KIND, build_seam
from tag2mask.segmentation.deeplab_v1 import DeepLabV1
from tag2mask.segmentation.networks import build_segmenter
from tag2mask.steps.affinity_labels import affinity_labels
from tag2mask.steps.infer_cam import infer_cam
from tag2mask.steps.train_affinity import affinity_spec, train_affinity
from tag2mask.steps.train_cam import net_spec, train_cam
from tag2mask.steps.trainers.segmenter_task import SegmenterTask, segmenter_spec
from tag2mask.steps.trainers.training import network_optimizer
from tag2mask.steps.walk import walk


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_describes_a_network(name: str) -> None:
    section = load_recipe(name).train_cam
    spec = net_spec(section, ClassSet(VOC_NAMES))
    assert (spec.pcm, spec.dropout) == (section.pcm.enabled, section.dropout)
    with torch.device("meta"):  # without initializing weights, in a tenth of the time
        net = build_seam(spec)
    assert net.num_classes == 20
    assert (net.pcm is not None) == spec.pcm


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_describes_an_affinity_network(name: str) -> None:
    section = load_recipe(name).train_affinity
    spec = affinity_spec(section)
    assert spec.backbone == load_recipe(name).train_cam.backbone.name
    with torch.device("meta"):
        assert build_affinity_net(spec).stride in (4, 8, 14, 16)


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_describes_a_segmentation_network(name: str) -> None:
    recipe = load_recipe(name)
    spec = segmenter_spec(recipe.train_segmenter, ClassSet(VOC_NAMES), samples(name))
    with torch.device("meta"):
        net = build_segmenter(spec)
    assert net.new_parameters()
    assert recipe.train_segmenter.crop % net.size_multiple == 0


@pytest.mark.parametrize("name", ["deit-s-gpu", "dinov2-s-gpu", "dinov3-s-gpu"])
def test_vits_learn_slowly_and_warm_up(name: str) -> None:
    recipe, usual = load_recipe(name), load_recipe("lite2-gpu")
    for section in ("train_cam", "train_affinity"):
        optimizer, other = getattr(recipe, section).optimizer, getattr(usual, section).optimizer
        assert optimizer.lr == pytest.approx(other.lr / 10)
        assert optimizer.new_layer_lr == other.new_layer_lr
        assert optimizer.warmup_steps >= 50 and other.warmup_steps == 0
        assert (optimizer.name, optimizer.schedule, optimizer.clip_norm) == ("adamw", "cosine", 1.0)
    assert recipe.train_cam.pooling == "max"


def test_the_dense_crf_and_its_backgrounds_are_the_published_ones() -> None:
    maps = {
        "gaussian_sxy": 3.0,
        "gaussian_weight": 3.0,
        "bilateral_sxy": 80.0,
        "bilateral_srgb": 13.0,
        "bilateral_weight": 10.0,
        "iterations": 10,
    }
    recipe = load_recipe("voc12-resnet38-paper")
    assert recipe.affinity_labels.crf.model_dump() == maps
    assert recipe.affinity_labels.alphas == (4.0, 24.0)
    assert recipe.walk.alpha == 6.0
    masks = recipe.pseudo_masks.crf.model_dump(exclude={"enabled"})
    assert masks == {**maps, "iterations": 1}
    predicted = recipe.predict.crf
    assert (predicted.bilateral_sxy, predicted.bilateral_srgb, predicted.bilateral_weight) == (
        32.0,
        13.0,
        10.0,
    )
    assert (predicted.gaussian_sxy, predicted.gaussian_weight) == (3.0, 3.0)


@pytest.mark.parametrize("name", ["voc12-resnet38", "voc12-resnet38-paper"])
def test_the_papers_segmentation_network(name: str) -> None:
    recipe = load_recipe(name)
    section = recipe.train_segmenter
    assert section.enabled
    assert section.network.weights == recipe.train_cam.backbone.weights
    for photos in (300, 1464, 10_582):
        assert training_steps(section, photos) == 20_000
    spec = segmenter_spec(section, ClassSet(VOC_NAMES), samples(name))
    with torch.device("meta"):
        net = build_segmenter(spec)
        groups = network_optimizer(net, net.new_parameters(), section).param_groups
    found = {(group["lr"], group["weight_decay"]) for group in groups}
    assert found == {(0.001, 0.0005), (0.002, 0.0), (0.01, 0.0005), (0.02, 0.0)}
    assert isinstance(net, DeepLabV1)


def authors_groups(net: DeepLabV1) -> tuple[list[nn.Parameter], ...]:
    """Transcribe ``get_parameter_groups`` of ``lib/net/deeplabv1.py``."""
    groups: tuple[list[nn.Parameter], ...] = ([], [], [], [])
    from_scratch_layers = [net.conv_fov, net.conv_fov2, net.cls_conv]
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            groups[2 if m in from_scratch_layers else 0].append(m.weight)
            if m.bias is not None:
                groups[3 if m in from_scratch_layers else 1].append(m.bias)
    return groups


def test_the_papers_segmentation_network_trains_what_the_authors_train() -> None:
    """Parameters, learning rates and weight decays; batch norms use the batch's statistics."""
    section = load_recipe("voc12-resnet38-paper").train_segmenter
    photos = samples("photo")
    spec = segmenter_spec(section, ClassSet(VOC_NAMES), photos)
    skipped: Any = None
    with torch.device("meta"):
        net = build_segmenter(spec)
        assert isinstance(net, DeepLabV1)
        SegmenterTask(net, photos, {}, 20, section, one_rank(), skipped, None)
        found = network_optimizer(net, net.new_parameters(), section).param_groups
    wanted = [
        ({id(p) for p in parameters}, lr, decay)
        for parameters, lr, decay in zip(
            authors_groups(net),
            (0.001, 2 * 0.001, 10 * 0.001, 20 * 0.001),
            (0.0005, 0, 0.0005, 0),
            strict=True,
        )
        if parameters
    ]
    assert [({id(p) for p in g["params"]}, g["lr"], g["weight_decay"]) for g in found] == wanted
    assert len(wanted[0][0]) == 43  # all convolutions of ResNet-38, the first ones too
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 39
    assert all(norm.training and norm.momentum == 0.0003 for norm in norms)


def samples(name: str) -> list[Sample]:
    return [Sample(name, Path(f"{name}.jpg"), (375, 500), (0,), "1-1")]


SMALL = [
    "train_cam.max_steps=2",
    "train_cam.batch_size=2",
    "train_cam.crop=64",
    "train_cam.long_side=[64, 64]",
    "train_cam.backbone.weights=none",
    "train_cam.checkpoint_minutes=100",
    "infer_cam.long_side=64",
    "train_affinity.max_steps=2",
    "train_affinity.batch_size=2",
    "train_affinity.crop=64",
    "train_affinity.long_side=[48, 80]",
    "train_affinity.checkpoint_minutes=100",
    "walk.long_side=64",
    "affinity_labels.crf.iterations=1",
    # These photos have no masks to calibrate on.
    "affinity_labels.threshold_from=estimated",
    "walk.threshold_from=estimated",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_trains_and_infers(name: str, tmp_path: Path) -> None:
    """Train its networks with its losses, views and optimizer on small photos for two steps."""
    recipe = load_recipe(name, SMALL, effects=False)
    data = prepared(write_photos(tmp_path / "photos", 4), tmp_path / "prepare")
    runtime = one_rank()
    model = train_cam(data, recipe.train_cam, tmp_path / "train-cam", runtime)
    assert np.isfinite(model.manifest.metrics["loss"])
    assert (
        read_spec(model.path / "model.safetensors", SEAM_KIND).backbone
        == recipe.train_cam.backbone.name
    )
    maps = infer_cam(data, model, recipe.infer_cam, tmp_path / "infer-cam", runtime)
    assert maps.manifest.counts["photos"] == 4
    if recipe.walk.enabled:
        labels = affinity_labels(data, maps, recipe.affinity_labels, tmp_path / "labels", runtime)
        affinity = train_affinity(
            data, labels, recipe.train_affinity, tmp_path / "affinity", runtime
        )
        assert np.isfinite(affinity.manifest.metrics["loss"])
        walked = walk(data, maps, affinity, recipe.walk, tmp_path / "walk", runtime)
        assert walked.manifest.counts["photos"] == 4


def photos_for_tiny(folder: Path) -> Path:
    """Link 24 masked photos of the shared data with their tags; else use the demo data."""
    root = Path(os.environ.get("TAG2MASK_SHARED", Path(__file__).parents[3] / "shared")) / "voc12"
    if not root.is_dir():
        if "CI" in os.environ:
            pytest.fail(f"no shared data: {root}")
        return make_demo_data(folder, photos=24, side=128)
    tags = dict(line.split(",", 1) for line in (root / "tags.csv").read_text().splitlines()[1:])
    chosen = []
    for split, step in (("train", 45), ("val", 45)):
        lines = (root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
        chosen += [(split, name) for name in lines[::step][: 18 if split == "train" else 6]]
    rows = ["image,tags,split,mask"]
    for split, name in chosen:
        rows.append(f"{name}.jpg,{tags[name].split(',')[0]},{split},masks/{name}.png")
        _link(root / "JPEGImages" / f"{name}.jpg", folder / f"{name}.jpg")
        _link(root / "SegmentationClass" / f"{name}.png", folder / "masks" / f"{name}.png")
    (folder / "tags.csv").write_text("\n".join(rows) + "\n")
    (folder / "classes.txt").write_text("\n".join(VOC_NAMES) + "\n")
    return folder


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


@pytest.mark.slow
def test_tiny_runs_every_step_on_real_photos(tmp_path: Path) -> None:
    photos = photos_for_tiny(tmp_path / "photos")
    out = tmp_path / "run"
    result = call(
        "run", "--data", photos, "--recipe", "tiny", "--out", out, "--set", "runtime.device=cpu"
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert CamMaps.open(out / "infer-cam").manifest.counts["photos"] == 24
    assert WalkedMaps.open(out / "walk").manifest.counts["photos"] == 24
    masks = sorted(PseudoMaskFolder.open(out / "pseudo-masks").path.rglob("*.png"))
    assert len(masks) == 24
    shown = np.unique(np.concatenate([np.unique(np.asarray(Image.open(p))) for p in masks]))
    assert len(shown) > 3  # not all background
    scores = Evaluation.open(out / "evaluate").manifest.metrics
    assert scores["train"]["best_miou"] > 0.02
    page = (out / "report" / "index.html").read_text()
    assert "data:image" in page
    pictures = list((out / "train-cam" / "pictures").glob("*.jpg"))
    assert pictures
