"""Step affinity-labels: labels where two dense CRFs agree, resumed and never computed twice."""

from dataclasses import replace

import numpy as np
import pytest
from affinity_scenes import one_photo, paint, save
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scenes import NAMES, Scene, run_on_ranks

from small_runs import MOMENT, end_of, kill_when, start, write_recipe
from tag2mask.affinity.labels import agreed_labels, without_sure_pixels
from tag2mask.affinity.marginals import marginals_path, read_marginals
from tag2mask.classes import ClassSet
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf
from tag2mask.data.index import Sample, read_index
from tag2mask.errors import DataError, RunFolderError
from tag2mask.files.json_file import read_json, write_json
from tag2mask.maps.background_threshold import derived_alpha, with_background
from tag2mask.maps.cam_map import CamMap, read_map, write_map
from tag2mask.recipe.crf import Crf
from tag2mask.recipe.maps_to_masks import AffinityLabeling
from tag2mask.steps import affinity_labels as stage
from tag2mask.steps.affinity_labels import affinity_labels

QUICK = AffinityLabeling(
    threshold_from="fixed", background_threshold=0.4, crf=Crf(iterations=2, bilateral_sxy=20)
)


def make(scene, runtime, section=QUICK, name="affinity-labels"):
    return affinity_labels(scene.data, scene.maps, section, scene.root / name, runtime)


def read(handle, photo_id):
    return np.asarray(Image.open(handle.path / "labels" / f"{photo_id}.png"))


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in (folder / "labels").rglob("*.png")
    }


def test_sure_is_what_both_crfs_agree_on(scene, one_rank):
    handle = make(paint(scene), one_rank)
    assert handle.manifest.counts == {"photos": 8, "computed": 8}
    low, high = handle.manifest.metrics["alphas"]
    assert low == pytest.approx(derived_alpha(0.4) * 4 / 6, abs=1e-4)
    assert high == pytest.approx(derived_alpha(0.4) * 4, abs=1e-4)
    settings = replace(PUBLISHED_CRF, iterations=2, bilateral_sxy=20)
    kinds = set()
    for sample in scene.samples["train"]:
        labels = read(handle, sample.id)
        assert labels.shape == sample.size
        kinds |= set(labels.ravel().tolist())
        if not sample.tags:
            assert not labels.any()  # all background
            continue
        scores = read_map(scene.map_path(sample.id)).full_scores()
        crf = DenseCrf(np.asarray(Image.open(sample.image)), settings)
        for pixel in ((3, 4), (20, 20), (30, 12)):
            one, other = (
                crf.refine(with_background(scores, alpha))[:, *pixel].argmax()
                for alpha in (low, high)
            )
            wanted = 0 if other == 0 else 255 if one == 0 else sample.tags[one - 1] + 1
            assert labels[pixel] == wanted
    assert kinds == {0, 1, 2, 3, 255}


def test_published_labels_have_the_marginals_of_both_crfs(scene, one_rank):
    section = QUICK.model_copy(update={"behavior": "published"})
    handle = make(paint(scene), one_rank, section, "published")
    assert files(handle.path) == files(make(scene, one_rank).path)
    assert not (scene.root / "affinity-labels" / "marginals").exists()
    settings = replace(PUBLISHED_CRF, iterations=2, bilateral_sxy=20)
    for sample in scene.samples["train"]:
        path = marginals_path(handle.path, sample.id)
        tags, found = read_marginals(path, sample.size, len(NAMES))
        assert tags == sample.tags
        if not tags:
            assert (found == 1).all()
            continue
        scores = read_map(scene.map_path(sample.id)).full_scores()
        crf = DenseCrf(np.asarray(Image.open(sample.image)), settings)
        for marginals, alpha in zip(found, handle.manifest.metrics["alphas"], strict=True):
            exact = crf.refine(with_background(scores, alpha))
            np.testing.assert_allclose(marginals, exact, atol=0.0005)
    complete = path.read_bytes()
    path.unlink()
    assert make(scene, one_rank, section, "published").manifest.counts["computed"] == 1
    assert path.read_bytes() == complete


def test_labels_are_palette_images(scene, one_rank):
    handle = make(paint(scene), one_rank)
    with Image.open(handle.path / "labels" / "train" / "0.png") as image:
        assert image.mode == "P"
        palette = np.array(image.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(palette[: len(NAMES) + 1], ClassSet(NAMES).colors)
    assert palette[255].tolist() == [224, 224, 192]


def test_the_weak_background_overrides():
    strong = np.array([[[0.1, 0.9, 0.4, 0.1]], [[0.9, 0.1, 0.6, 0.9]]], np.float32)
    weak = np.array([[[0.1, 0.1, 0.1, 0.8]], [[0.9, 0.9, 0.9, 0.2]]], np.float32)
    assert agreed_labels(strong, weak, (6,)).tolist() == [[7, 255, 7, 0]]


@given(st.floats(0.03, 0.97))
def test_the_two_backgrounds_enclose_the_threshold(threshold):
    alpha = derived_alpha(threshold)
    strong, weak = (alpha * factor for factor in AffinityLabeling().alpha_factors)
    assert (1 - threshold) ** strong > threshold > (1 - threshold) ** weak


def test_other_alphas_label_every_photo_again(scene, one_rank):
    section = QUICK.model_copy(update={"threshold_from": "estimated"})
    kept = make(paint(scene), one_rank, section).path / "background.json"
    scene.samples["train"].pop()
    scene.write()
    assert make(scene, one_rank, section).manifest.counts["computed"] == 0
    scene.samples["train"].pop()
    scene.write()
    background = read_json(kept)
    write_json(kept, background | {"threshold": background["threshold"] + 0.1})
    counts = make(scene, one_rank, section).manifest.counts
    assert counts["computed"] == counts["photos"] == len(scene.samples["train"])


def test_the_strong_background_comes_first(scene, one_rank):
    handle = make(paint(scene), one_rank)
    alpha = derived_alpha(handle.manifest.metrics["background_threshold"])
    factors = QUICK.alpha_factors
    assert handle.manifest.metrics["alphas"] == pytest.approx([alpha * f for f in factors], 1e-3)
    assert factors[0] < 1 < factors[1]


def test_published_alphas_enclose_the_best_published_threshold():
    alpha = derived_alpha(0.2219)
    found = [alpha * factor for factor in AffinityLabeling().alpha_factors]
    assert found == pytest.approx([4, 24], rel=0.01)


def test_given_alphas_need_no_background_threshold(scene, one_rank):
    handle = make(paint(scene), one_rank, AffinityLabeling(alphas=(4, 24), crf=Crf(iterations=1)))
    assert handle.manifest.metrics == {"alphas": [4, 24]}
    assert not (handle.path / "background.json").exists()


def test_the_first_background_threshold_is_kept(scene, one_rank):
    section = QUICK.model_copy(update={"threshold_from": "estimated"})
    paint(scene)
    late = scene.samples["train"].pop()
    scene.write()
    first = make(scene, one_rank, section).manifest
    scene.samples["train"].append(late)
    scene.write()
    second = make(scene, one_rank, section).manifest
    assert second.counts | {"computed": 1} == second.counts
    assert second.metrics["background_threshold"] == first.metrics["background_threshold"]
    assert read_json(scene.root / "affinity-labels" / "background.json")["source"] == "estimated"
    (scene.root / "affinity-labels" / "background.json").write_text("[1]")
    (scene.root / "affinity-labels" / "labels" / "train" / "0.png").unlink()
    with pytest.raises(RunFolderError, match=r"background\.json"):
        make(scene, one_rank, section)


def test_a_photo_is_labeled_again_after_a_kill(scene, one_rank, monkeypatch):
    complete = files(make(paint(scene), one_rank, name="complete").path)
    refined, limit = [], 4

    class Killed(DenseCrf):
        def refine(self, scores):
            refined.append(0)
            if len(refined) > limit:
                raise KeyboardInterrupt
            return super().refine(scores)

    monkeypatch.setattr(stage, "DenseCrf", Killed)
    with pytest.raises(KeyboardInterrupt):
        make(scene, one_rank)
    folder = scene.root / "affinity-labels"
    assert not (folder / "manifest.json").exists()
    limit = 1000
    handle = make(scene, one_rank)
    assert 0 < handle.manifest.counts["computed"] <= 8
    assert files(handle.path) == complete
    # Killed after the file was written and before it was recorded.
    journal = (folder / "items.jsonl").read_text().splitlines(keepends=True)
    (folder / "items.jsonl").write_text("".join(journal[:-1]))
    (folder / "labels" / "train" / "0.png").unlink()
    assert make(scene, one_rank).manifest.counts["computed"] == 2
    assert files(handle.path) == complete


def test_missing_labels_of_a_complete_folder_are_computed_again(scene, one_rank):
    handle = make(paint(scene), one_rank)
    complete = files(handle.path)
    assert make(scene, one_rank).manifest == handle.manifest
    (handle.path / "labels" / "train" / "2.png").unlink()
    assert make(scene, one_rank).manifest.counts["computed"] == 1
    assert files(handle.path) == complete


def test_labels_of_removed_photos_are_deleted(scene, one_rank):
    make(paint(scene), one_rank)
    gone = scene.samples["train"].pop(0)
    scene.write()
    handle = make(scene, one_rank)
    assert handle.manifest.counts["photos"] == 7
    assert f"labels/{gone.id}.png" not in files(handle.path)


def test_maps_of_other_photos_are_rejected(scene, one_rank):
    paint(scene)
    scene.map_path("train/1").unlink()
    with pytest.raises(DataError, match=r"'train/1' has no map.*infer-cam"):
        make(scene, one_rank, name="missing")
    cam_map = replace(read_map(scene.map_path("train/0")), id="train/1")
    write_map(scene.map_path("train/1"), cam_map)  # 48 x 40 for a photo of 40 x 56
    with pytest.raises(DataError, match=r"map is of a photo of"):
        make(scene, one_rank, name="size")


def test_maps_of_another_photo_of_that_size_or_of_other_tags_are_rejected(scene, one_rank):
    path = paint(scene).map_path("train/1")
    cam_map = read_map(path)
    write_map(path, replace(cam_map, id="train/5"))
    with pytest.raises(DataError, match=r"map is of photo 'train/5', not of 'train/1'.*1\.npz"):
        make(scene, one_rank)
    other = tuple({0, 1, 2} - set(cam_map.tags))[: len(cam_map.tags)]
    write_map(path, replace(cam_map, tags=other, scores=cam_map.scores[: len(other)]))
    with pytest.raises(DataError, match=r"map of 'train/1' is of other tags than the data has"):
        make(scene, one_rank)


def test_maps_of_classes_of_other_names_are_rejected(scene, one_rank):
    paint(scene)
    write_json(scene.data.path / "classes.json", {"names": ["train", "plane", "boat"]})
    with pytest.raises(DataError, match=r"maps are of the classes .*, the data has train, plane, "):
        make(scene, one_rank)


def test_both_backgrounds_share_the_kernels_of_a_photo(scene, one_rank, monkeypatch):
    made = []

    class Counted(DenseCrf):
        def __init__(self, *given, **settings):
            super().__init__(*given, **settings)
            self.channels = []
            made.append(self)

        def refine(self, scores):
            self.channels.append(len(scores))
            return super().refine(scores)

    monkeypatch.setattr(stage, "DenseCrf", Counted)
    make(paint(scene), one_rank)
    tagged = [len(s.tags) for s in scene.samples["train"] if s.tags]
    assert sorted(crf.channels for crf in made) == sorted([n + 1] * 2 for n in tagged)


def test_maps_of_another_class_list_are_rejected(scene, one_rank):
    cam_map = read_map(paint(scene).map_path("train/0"))
    write_map(scene.map_path("train/0"), replace(cam_map, probabilities=np.zeros(20, np.float32)))
    with pytest.raises(DataError, match="map is of 20 classes, the data has 3"):
        make(scene, one_rank)


def test_maps_with_nan_are_rejected(scene, one_rank):
    cam_map = read_map(paint(scene).map_path("train/0"))
    with np.load(scene.map_path("train/0")) as file:
        values = dict(file)
    values["scores"] = cam_map.scores.astype(np.float16)
    values["scores"][0, 3, 3] = np.nan
    np.savez(scene.map_path("train/0"), **values)
    with pytest.raises(DataError, match=r"NaN.*train/0\.npz"):
        make(scene, one_rank)
    assert not (scene.root / "affinity-labels" / "manifest.json").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (30, 40)])
def test_single_pixels_and_single_colors(tmp_path, one_rank, size):
    scores = np.linspace(0, 1, num=size[0] * size[1]).reshape(1, *size)
    scene = one_photo(tmp_path, np.full((*size, 3), 77, np.uint8), (1,), scores)
    handle = make(
        scene, one_rank, AffinityLabeling(threshold_from="fixed", background_threshold=0.4)
    )
    assert set(read(handle, "only").ravel().tolist()) <= {0, 2, 255}


def test_labels_are_read_by_the_training_alone(scene, one_rank, monkeypatch):
    monkeypatch.delattr("tag2mask.affinity.labels.read_mask")
    assert make(paint(scene), one_rank).manifest.counts == {"photos": 8, "computed": 8}


def test_photos_without_a_sure_pixel_are_listed(tmp_path, one_rank):
    # Nowhere above the strong background or below the weak one.
    scene = one_photo(tmp_path, np.full((20, 30, 3), 99, np.uint8), (1,), np.full((1, 20, 30), 0.3))
    handle = make(scene, one_rank)
    assert handle.manifest.skipped == ()
    samples = read_index(scene.data.path, "train")
    assert without_sure_pixels(samples, handle.path, 3) == ["only"]


def test_an_unreadable_photo_stops_or_is_skipped(scene, one_rank):
    paint(scene)
    scene.samples["train"][2].image.write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"not a photo.*train/2\.jpg"):
        make(scene, one_rank)
    handle = make(scene, one_rank, QUICK.model_copy(update={"skip_bad": True}))
    assert handle.manifest.counts["photos"] == 7
    assert [line.split(":")[0] for line in handle.manifest.skipped] == ["train/2"]


def test_without_maps_of_training_photos_there_are_no_labels(scene, one_rank):
    for sample in paint(scene).samples["train"]:
        scene.map_path(sample.id).unlink()
    with pytest.raises(DataError, match="no training photo has a map"):
        make(scene, one_rank)


def test_other_settings_are_rejected(scene, one_rank):
    make(paint(scene), one_rank)
    with pytest.raises(RunFolderError, match=r"affinity_labels\.crf\.iterations: 2 -> 10"):
        make(scene, one_rank, AffinityLabeling(threshold_from="fixed", background_threshold=0.4))


def test_two_ranks_make_the_same_labels(scene, one_rank):
    section = QUICK.model_copy(update={"threshold_from": "estimated"})
    alone = make(paint(scene), one_rank, section, "alone")
    together, _ = run_on_ranks(lambda rank: make(scene, rank, section, "together"), 2)
    assert files(alone.path) == files(together.path) and len(files(alone.path)) == 8
    assert alone.manifest.metrics == together.manifest.metrics
    assert alone.manifest.counts == together.manifest.counts


@pytest.mark.slow
def test_labels_are_the_same_after_kills(tmp_path, one_rank):
    rng = np.random.default_rng(0)
    samples = [
        Sample(f"{'ab'[i % 2]}/{i}", tmp_path / "photos" / f"{i}.jpg", (150, 200), (0, 2), "1-1")
        for i in range(80)
    ]
    scene = Scene(tmp_path, {"train": samples, "val": []}, {}, set())
    scene.write()
    for sample in samples:
        scores = rng.random((2, 10, 12), dtype=np.float32)
        save(sample.image, rng.integers(0, 256, (*sample.size, 3), np.uint8))
        scene.map_path(sample.id).parent.mkdir(parents=True, exist_ok=True)
        write_map(
            scene.map_path(sample.id),
            CamMap(sample.id, sample.tags, scores, sample.size, np.ones(3, np.float32)),
        )
    section = AffinityLabeling(threshold_from="fixed", background_threshold=0.4)
    complete = files(make(scene, one_rank, section, "complete").path)
    out = tmp_path / "killed"
    settings = write_recipe(tmp_path / "recipe.yaml", affinity_labels=section.model_dump())
    line = [
        "affinity-labels",
        "--data",
        scene.data.path,
        "--maps",
        scene.maps.path,
        "--recipe",
        settings,
        "--out",
        out,
    ]

    def written():
        # Only by name: a temporary file may be deleted before it is read.
        return [path for path in (out / "labels").rglob("*.png") if ".tmp-" not in path.name]

    for count in (MOMENT.randint(1, 20), MOMENT.randint(21, 40)):
        kill_when(start(*line), lambda count=count: len(written()) >= count)
        assert not (out / "manifest.json").exists()
        assert all(
            complete[path.relative_to(out).as_posix()] == path.read_bytes() for path in written()
        )
    end_of(start(*line))
    assert files(out) == complete
