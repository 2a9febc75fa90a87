import os
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from affinity_scenes import one_photo, paint
from PIL import Image
from scenes import NAMES, Scene, run_on_ranks

import small_runs
from small_runs import MOMENT, end_of, kill_when, start, write_recipe
from tag2mask.artifacts.handles import PseudoMaskFolder
from tag2mask.classes import ClassSet, mask_id
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf
from tag2mask.data.index import Sample
from tag2mask.errors import DataError, RecipeError, RunFolderError
from tag2mask.evaluation.records import read_scores
from tag2mask.maps.background_threshold import (
    ScoreHistogram,
    alpha_from_threshold,
    estimate_background_threshold,
    labels_from_scores,
    with_background,
)
from tag2mask.maps.cam_map import CamMap, read_map, write_map
from tag2mask.maps.mapped_photos import mapped_photos
from tag2mask.maps.threshold_sources import CALIBRATION_THRESHOLDS, drawn_masked_photos
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.recipe.crf import MaskCrf
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.recipe.sections import Evaluate
from tag2mask.report.overlays import mask_overlay
from tag2mask.steps.evaluate import evaluate
from tag2mask.steps.pseudo_masks import pseudo_masks

COLORS = ClassSet(NAMES).colors
FIXED = PseudoMasks(threshold_from="fixed", background_threshold=0.4)


def make(scene, runtime, section=FIXED, name="pseudo-masks"):
    return pseudo_masks(scene.data, scene.maps, section, scene.root / name, runtime)


def ids(scene):
    return [sample.id for split in scene.samples.values() for sample in split]


def masks(made):
    folder = getattr(made, "path", made) / "masks"
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path.read_bytes()
        for path in folder.rglob("*.png")
        if not path.name.startswith(".tmp-")
    }


def test_every_photo_gets_a_palette_mask_of_its_size(scene, one_rank):
    handle = make(scene, one_rank)
    for split in scene.samples.values():
        for sample in split:
            with Image.open(handle.path / "masks" / f"{sample.id}.png") as image:
                assert image.mode == "P"
                palette = np.array(image.getpalette()).reshape(-1, 3)
                labels = np.asarray(image)
            np.testing.assert_array_equal(palette[: len(NAMES) + 1], ClassSet(NAMES).colors)
            cam_map = read_map(scene.map_path(sample.id))
            expected = labels_from_scores(cam_map.full_scores(), cam_map.tags, 0.4, sample.size)
            np.testing.assert_array_equal(labels, expected)
            assert labels.shape == sample.size
            assert labels.any() == bool(sample.tags)  # without a tag: all background
    manifest = handle.manifest
    assert manifest.counts == {"photos": 11, "computed": 11}
    assert manifest.metrics == {
        "background_threshold": 0.4,
        "background_source": "fixed",
        "classes": list(NAMES),
    }


def test_estimate_uses_only_training_maps(scene, one_rank):
    section = PseudoMasks(threshold_from="estimated")
    metrics = make(scene, one_rank, section, "with").manifest.metrics
    histogram = ScoreHistogram.empty()
    for sample in scene.samples["train"]:
        histogram.add(read_map(scene.map_path(sample.id)).scores)
    assert metrics == {
        "background_source": "estimated",
        "background_threshold": estimate_background_threshold(histogram),
        "classes": list(NAMES),
    }
    scene.masked = set()
    scene.write()
    assert make(scene, one_rank, section, "without").manifest.metrics == metrics


def test_calibration_finds_the_best_threshold_on_chosen_photos(scene, one_rank):
    section = PseudoMasks(threshold_from="calibrated", calibrate_photos=4)
    metrics = make(scene, one_rank, section).manifest.metrics
    chosen = metrics["calibration_photos"]
    assert len(chosen) == len(set(chosen)) == 4
    assert set(chosen) <= {s.id for s in scene.samples["train"]} & scene.masked
    curve = ThresholdCurve.empty(len(NAMES), CALIBRATION_THRESHOLDS)
    for id in chosen:
        cam_map = read_map(scene.map_path(id))
        curve.add(scene.truths[id], cam_map.tags, cam_map.full_scores())
    assert (metrics["background_threshold"], metrics["calibration_miou"]) == curve.best()
    assert make(scene, one_rank, section, "again").manifest.metrics == metrics


def test_masks_without_their_tags_are_counted(scene, one_rank):
    for photo in ("train/0", "train/2", "val/8"):
        cam_map = read_map(scene.map_path(photo))
        write_map(scene.map_path(photo), replace(cam_map, scores=cam_map.scores * 0.3))
    manifest = make(scene, one_rank).manifest
    assert manifest.counts == {"photos": 11, "computed": 11, "without_tagged_pixels": 3}
    assert manifest.metrics["without_tagged_pixels"] == ["train/0", "train/2", "val/8"]
    (warning,) = manifest.metrics["warnings"]
    assert "masks of 3 of 10 tagged photos (train/0, train/2, val/8)" in warning
    assert "pseudo_masks.background_threshold (now 0.4, fixed" in warning
    with pytest.raises(DataError, match="masks of all 10 tagged photos show none of their tags"):
        make(scene, one_rank, changed(FIXED, background_threshold=1.0), "all")


def test_calibration_photos_are_drawn_and_always_the_same(scene, one_rank):
    scene.masked = set(scene.truths)
    scene.write()
    photos = mapped_photos(scene.data, scene.maps)
    found = [sample.id for sample, _ in drawn_masked_photos(scene.data, photos, 3)]
    every = sorted(sample.id for sample in scene.samples["train"])
    assert len(set(found)) == 3 and set(found) < set(every) and sorted(found) != every[:3]
    scene.samples["train"].reverse()
    scene.write()
    photos = mapped_photos(scene.data, scene.maps)
    assert [sample.id for sample, _ in drawn_masked_photos(scene.data, photos, 3)] == found


def test_calibration_without_masks(scene, one_rank):
    scene.masked = {s.id for s in scene.samples["val"]}
    scene.write()
    with pytest.raises(DataError, match="no training photo has a mask"):
        make(scene, one_rank, PseudoMasks(threshold_from="calibrated"))


def test_calibration_on_void_masks(scene, one_rank):
    for sample in scene.samples["train"]:
        Image.new("L", sample.size[::-1], 255).save(scene.root / "photos" / f"{sample.id}.png")
    with pytest.raises(DataError, match="void everywhere"):
        make(scene, one_rank, PseudoMasks(threshold_from="calibrated"))


@pytest.mark.parametrize("background", ["fixed", "estimated", "calibrated"])
def test_two_ranks_make_the_same_masks(scene, one_rank, background):
    section = PseudoMasks(threshold_from=background, background_threshold=0.4, calibrate_photos=5)
    alone = make(scene, one_rank, section, "alone")
    together, _ = run_on_ranks(lambda rank: make(scene, rank, section, "together"), 2)
    assert masks(alone) == masks(together) and len(masks(alone)) == 11
    assert alone.manifest.metrics == together.manifest.metrics
    assert together.manifest.counts == alone.manifest.counts


def test_an_interrupted_run_is_resumed(scene, one_rank):
    damaged = scene.map_path("val/9")
    complete = damaged.read_bytes()
    damaged.write_bytes(complete[:50])
    with pytest.raises(DataError, match="can't be read"):
        make(scene, one_rank)
    folder = scene.root / "pseudo-masks"
    assert not (folder / "manifest.json").exists()
    # Photos after the damaged one may have been computed ahead; they don't count yet.
    done = [p for p in folder.rglob("*.png") if p.parent.name == "train" or p.stem == "8"]
    before = {p: p.stat().st_mtime_ns for p in done}
    assert len(before) == 9
    damaged.write_bytes(complete)
    handle = make(scene, one_rank)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())
    assert handle.manifest.counts["computed"] < 11 and len(masks(handle)) == 11
    assert not [p for p in folder.rglob("*") if p.name.startswith(".") and p.name != ".lock"]


def test_only_changed_photos_are_computed_again(scene, one_rank):
    handle = make(scene, one_rank)
    first = masks(handle)
    changed = scene.samples["train"][0]
    scene.samples["train"][0] = replace(changed, stamp="2-2")
    gone = scene.samples["train"].pop(2)
    path = scene.map_path(changed.id)
    cam_map = read_map(path)
    write_map(path, replace(cam_map, scores=1 - cam_map.scores))
    os.utime(path, ns=(1, 1))
    scene.write()
    handle = make(scene, one_rank)
    second = masks(handle)
    assert handle.manifest.counts == {"photos": 10, "computed": 1}
    assert set(first) - set(second) == {gone.id}
    assert {id for id in second if first[id] != second[id]} == {changed.id}


def test_another_estimate_makes_every_mask_again(scene, one_rank):
    section = PseudoMasks(threshold_from="estimated")
    first = make(scene, one_rank, section)
    threshold = first.manifest.metrics["background_threshold"]
    for sample in scene.samples["train"][:3]:  # other scores shift the estimate of all photos
        cam_map = read_map(scene.map_path(sample.id))
        write_map(scene.map_path(sample.id), replace(cam_map, scores=cam_map.scores**0.3))
    scene.samples["val"].pop()
    scene.write()
    again = make(scene, one_rank, section)
    assert again.manifest.metrics["background_threshold"] != threshold
    assert again.manifest.counts == {"photos": 10, "computed": 10}


def test_a_complete_folder_computes_missing_masks_and_rejects_another_threshold(scene, one_rank):
    handle = make(scene, one_rank)
    first = masks(handle)
    before = {p: p.stat().st_mtime_ns for p in (handle.path / "masks").rglob("*.png")}
    lost = handle.path / "masks" / "val" / "8.png"
    lost.unlink()
    assert make(scene, one_rank).manifest.counts["computed"] == 1
    assert masks(handle).keys() == first.keys() and lost.is_file()
    assert [p for p, t in before.items() if p.stat().st_mtime_ns != t] == [lost]
    with pytest.raises(RunFolderError, match=r"pseudo_masks\.background_threshold: 0\.4 -> 0\.5"):
        make(scene, one_rank, PseudoMasks(threshold_from="fixed", background_threshold=0.5))


def test_photos_skipped_by_infer_cam_are_listed_again(scene, one_rank):
    scene.map_path("train/1").unlink()
    with pytest.raises(DataError, match="'train/1' has no map"):
        make(scene, one_rank, name="missing")
    scene.write(skipped=("train/1: photo can't be read",))
    handle = make(scene, one_rank)
    assert handle.manifest.skipped == ("train/1: photo can't be read",)
    assert "train/1" not in masks(handle)


def test_maps_of_other_photos_or_classes_are_rejected(scene, one_rank):
    path = scene.map_path("train/1")
    cam_map = read_map(path)
    write_map(path, replace(cam_map, size=(400, 300)))
    with pytest.raises(DataError, match="300 x 400 px, but 'train/1' has 56 x 40"):
        make(scene, one_rank)
    write_map(path, replace(cam_map, probabilities=np.zeros(7, np.float32)))
    with pytest.raises(DataError, match="map is of 7 classes, the data has 3"):
        make(scene, one_rank)
    write_map(path, replace(cam_map, id="train/5"))
    with pytest.raises(DataError, match="map is of photo 'train/5', not of 'train/1'"):
        make(scene, one_rank)


def test_no_map_at_all(scene, one_rank):
    for id in ids(scene):
        scene.map_path(id).unlink()
    with pytest.raises(DataError, match="no photo of the data has a map"):
        make(scene, one_rank)


def test_a_split_without_maps_is_ignored(scene, one_rank):
    for sample in scene.samples["train"]:
        scene.map_path(sample.id).unlink()
    handle = make(scene, one_rank, PseudoMasks(threshold_from="estimated"))
    assert set(masks(handle)) == {s.id for s in scene.samples["val"]}


SHARP = FIXED.model_copy(update={"crf": MaskCrf(enabled=True, iterations=2, bilateral_sxy=20)})


def changed(section, **values):
    return section.model_copy(update=values)


def gray(handle, photo_id, folder="confidence"):
    with Image.open(handle.path / folder / f"{photo_id}.png") as image:
        assert image.mode == ("L" if folder == "confidence" else "P")
        return np.asarray(image)


def test_the_crf_refines_masks_and_their_confidence(scene, one_rank):
    paint(scene)
    handle = make(scene, one_rank, changed(SHARP, confidence=True))
    settings = replace(PUBLISHED_CRF, iterations=2, bilateral_sxy=20)
    better = []
    for sample in scene.samples["train"]:
        labels, sure = (gray(handle, sample.id, folder) for folder in ("masks", "confidence"))
        assert labels.shape == sure.shape == sample.size
        if not sample.tags:
            assert not labels.any() and (sure == 255).all()
            continue
        scores = read_map(scene.map_path(sample.id)).full_scores()
        marginals = DenseCrf(np.asarray(Image.open(sample.image)), settings).refine(
            with_background(scores, alpha_from_threshold(0.4))
        )
        ids = np.array([0, *(tag + 1 for tag in sample.tags)])
        np.testing.assert_array_equal(labels, ids[marginals.argmax(axis=0)])
        np.testing.assert_allclose(sure, 255 * marginals.max(axis=0), atol=0.51)
        plain = labels_from_scores(scores, sample.tags, 0.4, sample.size)
        counted = scene.truths[sample.id] != 255
        better.append(
            (labels == scene.truths[sample.id])[counted].mean()
            - (plain == scene.truths[sample.id])[counted].mean()
        )
    assert np.mean(better) > 0  # the discs have the colors of their classes


def test_the_most_confident_pixels_are_far_from_the_background_threshold(scene, one_rank):
    plain = make(scene, one_rank)
    handle = make(scene, one_rank, changed(FIXED, confidence=True), "sure")
    assert masks(plain) == masks(handle)  # confidence is stored, not used
    sample = scene.samples["train"][0]
    scores = read_map(scene.map_path(sample.id)).full_scores()[0]
    background = (1 - scores) ** alpha_from_threshold(0.4)
    expected = np.maximum(scores, background) / (scores + background)
    np.testing.assert_allclose(gray(handle, sample.id), 255 * expected, atol=0.51)
    assert gray(handle, sample.id)[np.abs(scores - 0.4) < 0.02].max() < 140
    assert not (plain.path / "confidence").exists()


def test_unsure_pixels_are_ignored(scene, one_rank):
    section = changed(FIXED, confidence=True, unsure_below=0.8)
    handle, plain = make(scene, one_rank, section), make(scene, one_rank, name="plain")
    for sample in scene.samples["train"]:
        labels, complete = gray(handle, sample.id, "masks"), gray(plain, sample.id, "masks")
        sure = gray(handle, sample.id) / 255
        assert (labels[sure > 0.805] == complete[sure > 0.805]).all()
        assert (labels[sure < 0.795] == 255).all()
        assert (labels == 255).any() == bool(sample.tags)


def test_missing_confidence_is_computed_again_and_deleted_with_its_photo(scene, one_rank):
    section = changed(FIXED, confidence=True)
    handle = make(scene, one_rank, section)
    (handle.path / "confidence" / "train" / "1.png").unlink()
    assert make(scene, one_rank, section).manifest.counts["computed"] == 1
    scene.samples["val"].pop()
    scene.write()
    make(scene, one_rank, section)
    assert len(list((handle.path / "confidence").rglob("*.png"))) == 10


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (30, 40)])
def test_the_crf_takes_single_pixels_and_single_colors(tmp_path, one_rank, size):
    scores = np.linspace(0, 1, num=size[0] * size[1]).reshape(1, *size)
    scene = one_photo(tmp_path, np.full((*size, 3), 77, np.uint8), (1,), scores)
    for threshold in (0.0, 0.4, 1.0):
        section = PseudoMasks(
            threshold_from="fixed",
            background_threshold=threshold,
            crf=MaskCrf(enabled=True),
            confidence=True,
            unsure_below=0.6,
        )
        with suppress(DataError):  # the only photo's mask may be background alone
            make(scene, one_rank, section, f"masks-{threshold}")
        mask = np.asarray(Image.open(scene.root / f"masks-{threshold}" / "masks" / "only.png"))
        assert mask.shape == size and set(np.unique(mask)) <= {0, mask_id(1), 255}


def test_the_crf_needs_readable_photos(scene, one_rank):
    paint(scene)
    scene.samples["train"][1].image.unlink()
    with pytest.raises(DataError, match=r"photo is missing.*train/1\.jpg"):
        make(scene, one_rank, SHARP)
    handle = make(scene, one_rank, changed(SHARP, skip_bad=True))
    assert [line.split(":")[0] for line in handle.manifest.skipped] == ["train/1"]
    assert handle.manifest.counts["photos"] == 10
    assert "train/1" not in masks(handle)


def large_scene(root, count, size=(600, 800)):
    """Photos whose masks take long enough to be interrupted."""
    rng = np.random.default_rng(0)
    samples = [
        Sample(f"{'ab'[i % 2]}/{i}", root / "photos" / f"{i}.jpg", size, (0, 1, 2), "1-1")
        for i in range(count)
    ]
    scene = Scene(root, {"train": samples, "val": []}, {}, set())
    scene.write()
    y, x = np.mgrid[:150, :200] / 20
    for sample in samples:
        turned = rng.uniform(0.2, 1, (3, 2))
        scores = np.array([np.sin(a * y + b * x) ** 2 for a, b in turned], np.float32)
        path = scene.map_path(sample.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_map(path, CamMap(sample.id, sample.tags, scores, sample.size, np.ones(3, np.float32)))
    return scene


@pytest.mark.slow
@pytest.mark.parametrize("crf", [False, True])
def test_masks_are_the_same_after_kills(tmp_path, crf):
    scene = large_scene(tmp_path, 160, *([(150, 200)] if crf else []))  # a CRF is slow
    for sample in scene.samples["train"] if crf else ():
        sample.image.parent.mkdir(parents=True, exist_ok=True)
        colors = np.random.default_rng(0).integers(0, 256, (*sample.size, 3), np.uint8)
        Image.fromarray(colors).save(sample.image, format="PNG")
    # As many threads as the command has, because rounding in resizing depends on their number.
    section = PseudoMasks(
        threshold_from="fixed", background_threshold=0.4, crf=MaskCrf(enabled=crf)
    )
    complete = masks(make(scene, small_runs.one_rank(), section, "complete"))
    out = tmp_path / "killed"
    settings = write_recipe(
        tmp_path / "recipe.yaml",
        pseudo_masks__threshold_from="fixed",
        pseudo_masks__background_threshold=0.4,
        pseudo_masks__crf__enabled=crf,
    )
    line = [
        "pseudo-masks",
        "--data",
        scene.data.path,
        "--maps",
        scene.maps.path,
        "--recipe",
        settings,
        "--out",
        out,
    ]
    for count in (MOMENT.randint(1, 40), MOMENT.randint(41, 80)):
        kill_when(start(*line), lambda count=count: len(masks(out)) >= count)
        assert not (out / "manifest.json").exists()
        written = masks(out)  # each of them complete
        assert count <= len(written) < len(complete)
        assert all(complete[name] == content for name, content in written.items())
    end_of(start(*line))
    handle = PseudoMaskFolder.open(out)
    assert masks(handle) == complete
    assert not list(out.rglob(".tmp-*"))
    assert 0 < handle.manifest.counts["computed"] < len(complete)


def test_calibration_photos_are_listed_for_leave_out(scene, one_rank):
    folder = make(scene, one_rank, PseudoMasks(threshold_from="calibrated", calibrate_photos=3))
    listed = (folder.path / "calibration_photos.txt").read_text().split()
    assert listed == sorted(folder.manifest.metrics["calibration_photos"]) and len(listed) == 3
    section = Evaluate(leave_out=str(folder.path / "calibration_photos.txt"))
    scores = read_scores(
        evaluate(scene.data, scene.maps, folder, section, scene.root / "evaluate", one_rank)
    )
    assert scores.splits[0].left_out == 3 and scores.splits[0].cross_fitted is None
    estimated = make(scene, one_rank, PseudoMasks(threshold_from="estimated"), "estimated")
    assert not (estimated.path / "calibration_photos.txt").exists()


OWN = changed(FIXED, class_thresholds={NAMES[1]: 0.7})


@pytest.mark.parametrize("crf", [False, True])
def test_a_class_may_have_a_threshold_of_its_own(scene, one_rank, crf):
    paint(scene)
    sharp = {"crf": MaskCrf(enabled=True, iterations=0)} if crf else {}  # the scores themselves
    handle = make(scene, one_rank, changed(OWN, confidence=True, **sharp))
    assert handle.manifest.metrics["class_thresholds"] == {NAMES[1]: 0.7}
    limits = np.float32([0.4, 0.7, 0.4])
    fewer = 0
    for sample in scene.samples["train"]:
        labels = gray(handle, sample.id, "masks")
        if not sample.tags:
            assert not labels.any()
            continue
        scores = read_map(scene.map_path(sample.id)).full_scores()
        best, winner = scores.max(axis=0), np.array(sample.tags)[scores.argmax(axis=0)]
        expected = np.where(best > limits[winner], winner + 1, 0)
        clear = np.abs(best - limits[winner]) > 1e-4
        np.testing.assert_array_equal(labels[clear], expected[clear])
        common = labels_from_scores(scores, sample.tags, 0.4, sample.size)
        fewer += ((common == 2) & (labels == 0)).sum()
        near = np.abs(best - limits[winner]) < 0.01
        assert not near.any() or gray(handle, sample.id)[near].max() < 140  # a tie is unsure
    assert fewer > 0


def test_thresholds_of_classes_that_the_data_lacks(scene, one_rank):
    with pytest.raises(RecipeError, match=r"no class of the data: 'hores'") as refused:
        make(scene, one_rank, changed(FIXED, class_thresholds={"hores": 0.5, NAMES[0]: 0.5}))
    assert refused.value.where == "pseudo_masks.class_thresholds"
    assert not (scene.root / "pseudo-masks" / "masks").exists()


def test_masks_of_own_thresholds_are_scored_beside_the_common_one(scene, one_rank):
    folder = make(scene, one_rank, OWN)
    found = evaluate(scene.data, scene.maps, folder, Evaluate(), scene.root / "evaluate", one_rank)
    split = read_scores(found).splits[0]
    assert split.class_thresholds == {NAMES[1]: 0.7}
    maps, masks = split.stages
    assert (maps.used.background_threshold, masks.name) == (0.4, f"{maps.name} + class thresholds")
    assert masks.used.miou == split.masks.miou != maps.used.miou
    assert f"0.4 (fixed), but {NAMES[1]} 0.7" in (found.path / "table.md").read_text()


def test_overlays_are_written_later_and_change_no_mask(scene, one_rank):
    paint(scene)
    before = make(scene, one_rank)
    fingerprint, first = before.fingerprint, masks(before)
    handle = make(scene, one_rank, changed(FIXED, overlays=True))
    assert handle.fingerprint == fingerprint and masks(handle) == first
    sample = scene.samples["train"][0]
    for split in scene.samples.values():
        for photo in split:
            with Image.open(handle.path / "overlays" / f"{photo.id}.jpg") as image:
                assert image.size == photo.size[::-1]
    with Image.open(sample.image) as photo:
        wanted = mask_overlay(photo.convert("RGB"), gray(handle, sample.id, "masks"), COLORS)
    with Image.open(handle.path / "overlays" / f"{sample.id}.jpg") as image:
        difference = np.asarray(image).astype(int) - np.asarray(wanted)
    assert np.abs(difference).mean() < 8  # JPEG
    (handle.path / "overlays" / f"{sample.id}.jpg").unlink()
    assert make(scene, one_rank, changed(FIXED, overlays=True)).manifest.counts["computed"] == 1
    sample.image.unlink()
    (handle.path / "overlays" / f"{sample.id}.jpg").unlink()
    with pytest.raises(DataError, match="photo is missing"):
        make(scene, one_rank, changed(FIXED, overlays=True))


def test_overlays_of_earlier_masks_are_deleted(scene, one_rank):
    paint(scene)
    handle = make(scene, one_rank, changed(FIXED, overlays=True))
    gone = scene.samples["train"].pop(2)
    scene.write()
    assert (handle.path / "overlays" / f"{gone.id}.jpg").is_file()
    make(scene, one_rank, changed(FIXED, overlays=True))
    assert not (handle.path / "overlays" / f"{gone.id}.jpg").exists()
    scene.samples["val"].pop()
    scene.write()
    make(scene, one_rank)
    assert not (handle.path / "overlays").exists()
