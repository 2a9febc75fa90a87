"""Step walk: walked maps, their background, resuming and errors."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from affinity_scenes import affinity_model, one_photo, paint
from PIL import Image
from scenes import NAMES, Scene

import small_runs
from tag2mask.affinity.inference import AffinityInference
from tag2mask.affinity.network import load_affinity_net
from tag2mask.affinity.pairs import usable_radius
from tag2mask.affinity.random_walk import Walk as Walking
from tag2mask.affinity.random_walk import random_walk
from tag2mask.artifacts.handles import AffinityModel
from tag2mask.errors import DataError, RunFolderError, WeightsError
from tag2mask.files.json_file import read_json, write_json
from tag2mask.maps.background_threshold import against_background, with_background
from tag2mask.maps.cam_map import read_map, write_map
from tag2mask.recipe.maps_to_masks import PseudoMasks, Walk
from tag2mask.recipe.sections import Evaluate
from tag2mask.runtime.session import Runtime
from tag2mask.steps import walk as stage
from tag2mask.steps.evaluate import evaluate
from tag2mask.steps.photo_loops import per_photo
from tag2mask.steps.pseudo_masks import pseudo_masks
from tag2mask.steps.walk import walk

QUICK = Walk(alpha=2.0, long_side=64, steps=8, beta=1.0, precision="32")


@pytest.fixture
def painted(scene: Scene) -> Scene:
    return paint(scene)


@pytest.fixture
def model(tmp_path) -> AffinityModel:
    return affinity_model(tmp_path / "train-affinity")


def make(scene, model, section=QUICK, name="walk"):
    return walk(scene.data, scene.maps, model, section, scene.root / name, small_runs.one_rank())


def changed(**values):
    return QUICK.model_copy(update=values)


def found(handle, photo_id):
    return read_map(handle.path / "maps" / f"{photo_id}.npz")


def counts(handle):
    """Photos and those computed; untrained networks leave some without a pixel of their tags."""
    return {key: handle.manifest.counts[key] for key in ("photos", "computed")}


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in (folder / "maps").rglob("*.npz")
    }


def test_every_map_is_walked(painted, model):
    handle = make(painted, model)
    manifest = handle.manifest
    assert counts(handle) == {"photos": 11, "computed": 11}
    metrics = {"tags": "known", "classes": list(NAMES), "alpha": 2.0}
    assert manifest.metrics.items() >= metrics.items()
    for split in painted.samples.values():
        for sample in split:
            before, after = read_map(painted.map_path(sample.id)), found(handle, sample.id)
            assert after.tags == before.tags == sample.tags
            assert after.size == sample.size
            assert after.scores.shape[1:] == (-(-sample.size[0] // 4), -(-sample.size[1] // 4))
            np.testing.assert_array_equal(after.probabilities, before.probabilities)


def test_photos_whose_tags_lose_against_the_background_are_a_warning(painted, model, one_rank):
    handle = make(painted, model, changed(alpha=0.5))
    manifest = handle.manifest
    assert manifest.counts["without_tagged_pixels"] == 10  # the eleventh has no tag
    assert len(manifest.metrics["without_tagged_pixels"]) == 10
    (warning,) = manifest.metrics["warnings"]
    assert "every tag of all 10 tagged photos" in warning and "walk.alpha (now 0.5)" in warning
    # A lower threshold than that of `auto` still finds them.
    low = PseudoMasks(threshold_from="fixed", background_threshold=0.01)
    masks = pseudo_masks(painted.data, handle, low, painted.root / "low", one_rank)
    assert masks.manifest.counts == {"photos": 11, "computed": 11}
    with pytest.raises(DataError, match="masks of all 10 tagged photos show none of their tags"):
        pseudo_masks(painted.data, handle, PseudoMasks(), painted.root / "masks", one_rank)


def test_large_photos_are_walked_last_and_equally(painted, model, monkeypatch):
    usual = files(make(painted, model).path)
    sizes = sorted(s.pixels for split in painted.samples.values() for s in split)
    monkeypatch.setattr(per_photo, "LARGE_PIXELS", sizes[len(sizes) // 2] - 1)
    assert files(make(painted, model, name="large").path) == usual
    monkeypatch.undo()
    monkeypatch.setattr(stage, "SMALL_PIXELS", 0)  # none beside others
    assert files(make(painted, model, name="alone").path) == usual


def test_photos_are_walked_side_by_side(painted, model, monkeypatch):
    """Two photos are in the network at once, and their maps are those of one at a time."""
    usual = files(make(painted, model).path)
    both = threading.Barrier(2, timeout=60)
    whole = AffinityInference.affinity
    seen = []

    def affinity(self, photo):
        seen.append(threading.get_ident())
        if len(seen) <= 2:
            both.wait()
        return whole(self, photo)

    monkeypatch.setattr(AffinityInference, "affinity", affinity)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        handle = walk(
            painted.data,
            painted.maps,
            model,
            QUICK,
            painted.root / "two",
            Runtime.start(device="cpu", workers=0, threads=2),
        )
    finally:
        torch.set_num_threads(threads)
    assert len(set(seen)) == 2
    assert files(handle.path) == usual


@pytest.mark.parametrize("published", [False, True])
def test_the_walk_is_that_of_the_paper(painted, model, published):
    """Compare with a plain implementation for one photo whose sides need padding."""
    photo = Image.open(painted.samples["train"][2].image).resize((61, 45))
    scores = np.random.default_rng(3).random((2, 45, 61), dtype=np.float32)
    net, _ = load_affinity_net(model.path / "model.safetensors")
    inference = AffinityInference(
        net, torch.device("cpu"), radius=3, long_side=None, scales=(1.0,), published=published
    )
    affinity = inference.affinity(photo)
    size = (45, 61) if published else (48, 64)  # rounded to what the network halves
    assert affinity.size == size and affinity.grid == (6, 8)
    maps = (
        torch.from_numpy(scores)
        if published
        else F.interpolate(
            torch.from_numpy(scores)[None], size, mode="bilinear", align_corners=False
        )[0]
    )
    full = torch.zeros(3, 48, 64)
    full[:, : size[0], : size[1]] = torch.from_numpy(with_background(maps.numpy(), 6.0))
    cells = F.avg_pool2d(full, 8)
    torch.testing.assert_close(affinity.to_grid(scores, 6.0), cells, atol=1e-6, rtol=0)
    pixels = np.zeros((48, 64, 3), np.float32)
    mean, std = np.array(net.backbone.mean), np.array(net.backbone.std)
    pixels[: size[0], : size[1]] = (
        np.asarray(photo if published else photo.resize((64, 48), Image.Resampling.BICUBIC)) / 255
        - mean
    ) / std
    with torch.no_grad():
        wanted = net(
            torch.from_numpy(pixels).permute(2, 0, 1)[None],
            published=published,
            radius=usable_radius((6, 8), 3, published=published),
        )[0]
    torch.testing.assert_close(affinity.affinity, wanted, atol=1e-5, rtol=0)
    walked = random_walk(wanted, cells, radius=affinity.radius, beta=8, steps=4)
    large = F.interpolate(walked[None], (48, 64), mode="bilinear", align_corners=False)[
        0, :, : size[0], : size[1]
    ]
    if published:
        np.testing.assert_allclose(affinity.from_grid(walked, (45, 61)), large, atol=1e-6)


def test_the_step_walks_with_its_settings(painted, model):
    section = changed(alpha=3.0, beta=2.0, steps=3, map_stride=2)
    handle = make(painted, model, section)
    net, spec = load_affinity_net(model.path / "model.safetensors")
    inference = AffinityInference(
        net, torch.device("cpu"), radius=spec.radius, long_side=64, scales=(1.0,), published=False
    )
    sample = next(sample for sample in painted.samples["train"] if sample.tags)
    before, after = read_map(painted.map_path(sample.id)), found(handle, sample.id)
    affinity = inference.affinity(Image.open(sample.image))
    walked = random_walk(
        affinity.affinity,
        affinity.to_grid(before.scores, section.alpha),
        radius=affinity.radius,
        beta=section.beta,
        steps=section.steps,
    )
    wanted = against_background(affinity.from_grid(walked, after.scores.shape[1:]))
    np.testing.assert_allclose(after.scores, wanted, atol=0.51 / 255)


def test_half_is_where_a_class_exceeds_the_walked_background(painted, model):
    sample = painted.samples["train"][2]  # two tags
    handle = make(painted, model, changed(map_stride=1, map_dtype="float16"))
    net, _ = load_affinity_net(model.path / "model.safetensors")
    affinity = AffinityInference(
        net, torch.device("cpu"), radius=5, long_side=64, scales=(1.0,), published=False
    ).affinity(Image.open(sample.image))
    cells = affinity.to_grid(read_map(painted.map_path(sample.id)).scores, 2.0)
    walked = affinity.from_grid(
        random_walk(affinity.affinity, cells, radius=affinity.radius, beta=1.0, steps=8),
        sample.size,
    )
    stored = found(handle, sample.id).scores
    np.testing.assert_allclose(stored, against_background(walked), atol=1e-3)
    clear = np.abs(walked[0] - walked[1:].max(axis=0)) > 0.01
    assert clear.any()
    np.testing.assert_array_equal(
        (stored.max(axis=0) > 0.5)[clear], (walked[1:].max(axis=0) > walked[0])[clear]
    )


def test_zero_steps_keep_the_maps(painted, model):
    handle = make(painted, model, changed(steps=0, alpha=1.0))
    sample = painted.samples["train"][0]
    before, after = read_map(painted.map_path(sample.id)), found(handle, sample.id)
    # With 1 - max as background, the stored map is the input on a coarser grid.
    assert np.corrcoef(before.scores[0, ::2, ::2].ravel(), after.scores[0].ravel())[0, 1] > 0.9


def test_more_steps_smooth_the_maps(painted, model):
    spread = [
        found(make(painted, model, changed(steps=steps), f"walk-{steps}"), "train/0").scores.std()
        for steps in (0, 4, 256)
    ]
    assert spread[0] > spread[1] > spread[2]


def test_untagged_photos_have_maps_of_no_class(painted, model):
    handle = make(painted, model)
    untagged = found(handle, "train/3")
    assert untagged.tags == () and untagged.full_scores().shape == (0, *untagged.size)


@pytest.mark.parametrize("behavior", ["default", "published"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (30, 20)])
@pytest.mark.parametrize("radius", [1, 5, 30])
def test_small_photos_and_large_radii(tmp_path, model, size, radius, behavior):
    scores = np.linspace(0, 1, num=size[0] * size[1]).reshape(1, *size)
    scene = one_photo(tmp_path, np.full((*size, 3), 200, np.uint8), (1,), scores)
    handle = make(scene, model, changed(radius=radius, behavior=behavior, long_side=None))
    cam_map = found(handle, "only")
    assert np.isfinite(cam_map.scores).all()
    assert cam_map.size == size


def test_several_scales(painted, model):
    one = make(painted, model, name="one")
    several = make(painted, model, changed(scales=(0.5, 1.0, 1.5)), "several")
    assert files(one.path).keys() == files(several.path).keys()
    assert files(one.path) != files(several.path)


def test_the_affinity_of_several_scales_is_their_mean(painted, model):
    net, _ = load_affinity_net(model.path / "model.safetensors")
    photo = Image.open(painted.samples["train"][0].image)

    def affinity_at(*scales):
        return (
            AffinityInference(
                net, torch.device("cpu"), radius=5, long_side=64, scales=scales, published=False
            )
            .affinity(photo)
            .affinity
        )

    half, one = affinity_at(0.5), affinity_at(1.0)
    torch.testing.assert_close(affinity_at(1.0, 1.0), one)
    # Both on the grid of scale 1.
    assert half.shape == one.shape and not torch.allclose(half, one, atol=1e-3)
    torch.testing.assert_close(affinity_at(0.5, 1.0), (half + one) / 2)


def test_alpha_follows_from_the_background_threshold(painted, model):
    section = changed(alpha=None, threshold_from="fixed", background_threshold=0.5)
    metrics = {
        "tags": "known",
        "classes": list(NAMES),
        "background_threshold": 0.5,
        "background_source": "fixed",
        "alpha": 1.0,
    }
    assert make(painted, model, section).manifest.metrics.items() >= metrics.items()
    for extreme in (0.0, 1.0):  # α is undefined
        handle = make(
            painted,
            model,
            changed(alpha=None, threshold_from="fixed", background_threshold=extreme),
            f"walk-{extreme}",
        )
        assert all(np.isfinite(found(handle, s.id).scores).all() for s in painted.samples["val"])


def test_later_steps_accept_walked_maps(painted, model, one_rank):
    handle = make(painted, model, changed(alpha=24.0))
    masks = pseudo_masks(painted.data, handle, PseudoMasks(), painted.root / "masks", one_rank)
    assert masks.manifest.metrics == {
        "background_threshold": 0.5,
        "background_source": "walk",
        "classes": list(NAMES),
    }
    assert "walked maps" in masks.manifest.coverage
    for sample in painted.samples["train"]:
        scores = found(handle, sample.id).full_scores()
        labels = np.asarray(Image.open(masks.path / "masks" / f"{sample.id}.png"))
        np.testing.assert_array_equal(labels > 0, scores.max(axis=0, initial=0) > 0.5)
    for way in ("estimated", "calibrated"):
        other = pseudo_masks(
            painted.data, handle, PseudoMasks(threshold_from=way), painted.root / way, one_rank
        )
        assert other.manifest.metrics["background_source"] == way
    scored = evaluate(painted.data, handle, masks, Evaluate(), painted.root / "evaluate", one_rank)
    assert 0 < scored.manifest.metrics["train"]["miou"] <= 1


def test_an_interrupted_walk_is_resumed(painted, model, monkeypatch):
    full = files(make(painted, model, name="full").path)
    done, limit = [], 4
    real = Walking.run

    def stopping(*arguments, **options):
        done.append(0)
        if len(done) > limit:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(Walking, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(painted, model)
    assert not (painted.root / "walk" / "manifest.json").exists()
    limit = 1000
    handle = make(painted, model)
    assert counts(handle) == {"photos": 11, "computed": 6}  # 4 walked, 1 without a tag
    assert files(handle.path) == full
    (handle.path / "maps" / "val" / "8.npz").unlink()
    assert make(painted, model).manifest.counts["computed"] == 1
    assert files(handle.path) == full


def test_a_changed_photo_is_walked_again(painted, model):
    make(painted, model)
    sample = painted.samples["train"][1]
    painted.samples["train"][1] = replace(sample, stamp="2-2")
    painted.samples["val"].pop()
    painted.write()
    handle = make(painted, model)
    assert counts(handle) == {"photos": 10, "computed": 1}
    assert len(files(handle.path)) == 10


def test_another_alpha_walks_every_photo_again(painted, model):
    section = changed(alpha=None, threshold_from="estimated")
    first = make(painted, model, section)
    kept = first.path / "background.json"
    background, alpha = read_json(kept), first.manifest.metrics["alpha"]
    # With other photos, the threshold that is estimated may be another one.
    painted.samples["val"].pop()
    painted.write()
    assert counts(make(painted, model, section)) == {"photos": 10, "computed": 0}
    painted.samples["val"].pop()
    painted.write()
    write_json(kept, background | {"threshold": background["threshold"] + 0.1})
    again = make(painted, model, section)
    assert counts(again) == {"photos": 9, "computed": 9}
    assert again.manifest.metrics["alpha"] < alpha


def test_an_unreadable_photo_stops_or_is_skipped(painted, model, one_rank):
    painted.samples["train"][1].image.unlink()
    with pytest.raises(DataError, match=r"photo is missing.*train/1\.jpg"):
        make(painted, model)
    handle = make(painted, model, changed(skip_bad=True))
    assert [line.split(":")[0] for line in handle.manifest.skipped] == ["train/1"]
    low = PseudoMasks(threshold_from="fixed", background_threshold=0.01)
    masks = pseudo_masks(painted.data, handle, low, painted.root / "masks", one_rank)
    assert masks.manifest.counts["photos"] == 10
    assert masks.manifest.skipped == handle.manifest.skipped


def test_a_photo_of_another_size_is_rejected(painted, model):
    Image.new("RGB", (9, 9)).save(painted.samples["train"][1].image, format="PNG")
    with pytest.raises(DataError, match="different size than when it was listed"):
        make(painted, model)


def test_maps_of_other_photos_or_classes_are_rejected(painted, model):
    cam_map = read_map(painted.map_path("train/0"))
    write_map(painted.map_path("train/0"), replace(cam_map, probabilities=np.zeros(9, np.float32)))
    with pytest.raises(DataError, match="map is of 9 classes"):
        make(painted, model)
    write_map(painted.map_path("train/0"), read_map(painted.map_path("train/1")))
    with pytest.raises(DataError, match="map is of photo 'train/1', not of 'train/0'"):
        make(painted, model)
    write_map(painted.map_path("train/0"), replace(cam_map, size=(9, 9)))
    with pytest.raises(DataError, match="map is of a photo of"):
        make(painted, model)


def test_maps_with_nan_are_rejected(painted, model):
    with np.load(painted.map_path("train/0")) as file:
        values = dict(file)
    values["scores"] = np.full(values["scores"].shape, np.nan, np.float16)
    np.savez(painted.map_path("train/0"), **values)
    with pytest.raises(DataError, match="NaN"):
        make(painted, model)


def test_a_network_that_is_not_finite_is_rejected(painted, tmp_path):
    with pytest.raises(WeightsError, match=r"aren't finite.*train_affinity\.optimizer\.lr"):
        make(painted, affinity_model(tmp_path / "spoilt", spoilt=True))


def test_another_model_is_rejected(painted, model, tmp_path):
    make(painted, model)
    with pytest.raises(RunFolderError, match="input model"):
        make(painted, affinity_model(tmp_path / "other", seed=1))
    with pytest.raises(RunFolderError, match=r"walk\.steps: 8 -> 9"):
        make(painted, model, changed(steps=9))
