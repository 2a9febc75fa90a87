"""Refinements of maps without training: against transcriptions, and on a small run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.experiments.tags_alone import image_prototypes, par, refined_maps
from PIL import Image
from torch import Tensor

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts.handles import CamMaps, Evaluation
from tag2mask.maps.cam_map import CamMap, read_map


def published_par(images: Tensor, masks: Tensor, dilations: tuple[int, ...], times: int) -> Tensor:
    """Transcribe ``wetr/PAR.py`` of https://github.com/rulixiang/afa."""
    kernel = torch.zeros(8, 1, 3, 3)
    for place, (y, x) in enumerate(
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)]
    ):
        kernel[place, 0, y, x] = 1

    def dilated(x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        found = []
        for d in dilations:
            padded = F.pad(x, [d] * 4, mode="replicate")
            padded = padded.reshape(b * c, -1, padded.shape[-2], padded.shape[-1])
            found.append(F.conv2d(padded, kernel, dilation=d).view(b, c, -1, h, w))
        return torch.cat(found, dim=2)

    corners = torch.ones(1, 1, 8, 1, 1)
    corners[0, 0, [0, 2, 5, 7]] = 2**0.5
    b, _, h, w = images.shape
    near = dilated(images)
    places = torch.cat([corners * d for d in dilations], dim=2).repeat(b, 1, 1, h, w)
    difference = (near - images.unsqueeze(2)).abs()
    of_color = -((difference / (torch.std(near, dim=2, keepdim=True) + 1e-8) / 0.3) ** 2)
    of_place = -((places / (torch.std(places, dim=2, keepdim=True) + 1e-8) / 0.3) ** 2)
    affinity = F.softmax(of_color.mean(dim=1, keepdim=True), dim=2)
    affinity = affinity + 0.01 * F.softmax(of_place, dim=2)
    for _ in range(times):
        masks = (dilated(masks) * affinity).sum(2)
    return masks


def photo(height: int = 20, width: int = 26) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A dark photo with a bright disk."""
    pixels = np.random.default_rng(0).integers(0, 60, (height, width, 3), np.uint8)
    pixels[disk(height, width)] += 150
    return pixels


def disk(height: int, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    y, x = np.mgrid[:height, :width]
    found: np.ndarray[Any, np.dtype[np.bool_]] = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (
        height / 4
    ) ** 2
    return found


def test_par_is_the_published_one() -> None:
    maps = np.random.default_rng(1).random((2, 20, 26), np.float32)
    image = torch.from_numpy(photo()).permute(2, 0, 1)[None].float()
    wanted = published_par(image, torch.from_numpy(maps)[None], (1, 2, 4), 3)[0]
    found = par.refine(photo(), maps, dilations=(1, 2, 4), iterations=3)
    assert np.allclose(found, wanted.numpy(), atol=1e-5)


def blurred(height: int = 80, width: int = 104) -> CamMap:
    """A map of one class: the disk, blurred and moved."""
    maps = torch.from_numpy(disk(height, width)).float()[None, None].roll((4, -4), (2, 3))
    scores = F.avg_pool2d(maps, 4)
    scores = F.avg_pool2d(scores, 5, stride=1, padding=2)[0]
    return CamMap("a", (1,), scores.numpy(), (height, width), np.ones(3, np.float32))


@pytest.mark.parametrize("name", ["superpixels", "par"])
def test_maps_get_closer_to_the_object(name: str) -> None:
    old, truth = blurred(), disk(80, 104)
    refine = refined_maps.method(name, Path())
    new = refined_maps.refined(old, Image.fromarray(photo(80, 104)), refine, 1.0, scaled=True)
    assert new.scores.shape == old.scores.shape and new.scores.max() == 1

    def iou(cam_map: CamMap) -> float:
        found = cam_map.full_scores()[0] > 0.5
        return float((found & truth).sum() / (found | truth).sum())

    assert iou(new) > iou(old) + 0.02


def test_a_share_of_0_changes_nothing_but_the_scale() -> None:
    old = blurred()
    image = Image.fromarray(photo(80, 104))
    same = refined_maps.refined(old, image, refined_maps.local_means, 0.0, scaled=False)
    assert np.allclose(same.scores, old.scores)
    half = refined_maps.refined(old, image, refined_maps.superpixel_means, 0.5, scaled=False)
    full = refined_maps.refined(old, image, refined_maps.superpixel_means, 1.0, scaled=False)
    assert np.allclose(half.scores, (old.scores + full.scores) / 2, atol=1e-6)


def published_seeds(cam: Tensor, feature: Tensor) -> Tensor:
    """Transcribe ``get_seed`` of ``network/resnet50_SIPE.py`` for one photo; cam has all tags."""
    c, h, w = cam.shape
    flat = feature.view(1, -1, h * w)
    flat = flat / (torch.norm(flat, dim=1, keepdim=True) + 1e-5)
    correlation = F.relu(torch.matmul(flat.transpose(2, 1), flat)).unsqueeze(1)
    cams = cam.view(1, -1, h * w).unsqueeze(2)
    inter = (correlation * cams).sum(-1)
    union = correlation.sum(-1) + cams.sum(-1) - inter
    iou = (inter / union).view(1, c, h, w)
    iou[:, 0] = iou[:, 0] * 0.5
    return iou.argmax(1)[0]


def test_seeds_are_the_published_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 0.35 * torch.rand(2, 7, 9, generator=generator)
    features = torch.randn(5, 7, 9, generator=generator)
    cam = torch.cat([1 - scores.amax(dim=0, keepdim=True), scores])
    wanted = published_seeds(cam, features)
    assert torch.equal(image_prototypes.seeds(features, scores), wanted)
    assert set(wanted.unique().tolist()) == {0, 1, 2}


def test_prototypes_spread_a_peak_over_cells_of_equal_features() -> None:
    inside = torch.from_numpy(disk(16, 16))
    features = torch.where(
        inside, torch.tensor([1.0, -1.0])[:, None, None], torch.tensor([-1.0, 1.0])[:, None, None]
    )
    peak = torch.zeros(1, 16, 16)
    peak[0, 7:9, 7:9] = 1
    found = image_prototypes.reactivated(features, peak)
    assert torch.equal(found[0] > 0.5, inside)
    assert torch.equal(image_prototypes.reactivated(features, peak * 0)[0], peak[0] * 0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to its masks, beside its photos."""
    folder = tmp_path_factory.mktemp("base")
    write_photos(folder / "photos", 12, masks=True)
    low = {"threshold_from": "fixed", "background_threshold": 0.1}
    small = write_recipe(folder / "small.yaml", train_segmenter__enabled=False, pseudo_masks=low)
    words = ["run", "--data", folder / "photos", "--out", folder / "run", "--recipe", small]
    done = invoke(*words, "--until", "evaluate")
    assert done.exit_code == 0, done.output
    return folder


def stored_maps(step: Path) -> dict[str, Any]:
    return {path.name: read_map(path).scores for path in (step / "maps").rglob("*.npz")}


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("prototypes", "infer-cam"),
        ("superpixels", "infer-cam"),
        ("par", "infer-cam"),
        ("par", "walk"),
    ],
)
def test_maps_of_a_run_are_replaced(
    base: Path, tmp_path: Path, name: str, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["run", "--data", base / "photos", "--out", out]
    done = invoke(*words, "--from", base / "run", "--until", step)
    assert done.exit_code == 0, done.output
    before = stored_maps(base / "run" / step)
    refined_maps.main([str(out), str(base / "run"), "--method", name, "--step", step])
    changed = int(capsys.readouterr().out.split()[0])
    after = stored_maps(out / step)
    assert changed == sum(not np.array_equal(before[one], after[one]) for one in before) > 0
    kept = {
        path.name: read_map(path).scores for path in (base / "run" / step / "maps").rglob("*.npz")
    }
    assert all(np.array_equal(before[one], kept[one]) for one in before), "the source is unchanged"
    refined_maps.main([str(out), str(base / "run"), "--method", name, "--step", step])
    assert capsys.readouterr().out.startswith("0 maps")
    done = invoke(*words, "--until", "evaluate")
    assert done.exit_code == 0, done.output
    assert CamMaps.open(out / CamMaps.step)
    first = Evaluation.open(base / "run" / Evaluation.step).manifest.metrics
    assert Evaluation.open(out / Evaluation.step).manifest.metrics != first


def test_affinity_labels_by_par(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["run", "--data", str(base / "photos"), "--out", str(out)]
    done = invoke(*words, "--from", base / "run", "--until", "infer-cam")
    assert done.exit_code == 0, done.output
    with pytest.raises(SystemExit) as ended:
        par.main([*words, "--until", "evaluate"])
    assert ended.value.code == 0
    labels = [sorted((run / "affinity-labels").rglob("*.png")) for run in (base / "run", out)]
    pairs = zip(*labels, strict=True)
    assert any(first.read_bytes() != second.read_bytes() for first, second in pairs)
