"""Command tune: its scores equal those of the steps walk, pseudo-masks and evaluate."""

import csv
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import yaml
from affinity_scenes import affinity_model, paint
from PIL import Image
from scenes import NAMES, Scene, run_on_ranks

import small_runs
from tag2mask.affinity.tuning import WalkSetting
from tag2mask.artifacts.handles import AffinityModel, Tuning
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import copy_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.errors import DataError, RunFolderError
from tag2mask.maps.mapped_photos import mapped_photos
from tag2mask.maps.threshold_sources import CALIBRATION_THRESHOLDS, drawn_masked_photos
from tag2mask.metrics.confusion import Confusion
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.maps_to_masks import PseudoMasks, Tune, Walk
from tag2mask.steps.pseudo_masks import pseudo_masks
from tag2mask.steps.tune import tune
from tag2mask.steps.tuning_result import read_tuning, recipe_values
from tag2mask.steps.walk import walk

SECTION = Tune(photos=5, alphas=(1.0, 4.0), betas=(1.0, 6.0), steps=(2, 80))
WALK = Walk(alpha=2.0, beta=6.0, steps=8, long_side=64, precision="32")


@pytest.fixture
def painted(scene: Scene) -> Scene:
    return paint(scene)


@pytest.fixture
def model(tmp_path) -> AffinityModel:
    return affinity_model(tmp_path / "train-affinity")


def make(
    scene,
    model,
    section=SECTION,
    *,
    walk=WALK,
    masks=PseudoMasks(),  # noqa: B008
    name="tune",
    runtime=None,
):
    return tune(
        scene.data,
        scene.maps,
        model,
        section,
        walk,
        masks,
        scene.root / name,
        runtime or small_runs.one_rank(),
    )


def miou_of(scene, model, setting: WalkSetting, threshold: float, photos, name) -> float:
    """Return the mIoU of walked maps turned into masks step by step."""
    runtime = small_runs.one_rank()
    section = WALK.model_copy(update=vars(setting))
    walked = walk(scene.data, scene.maps, model, section, scene.root / f"walk {name}", runtime)
    fixed = PseudoMasks(threshold_from="fixed", background_threshold=threshold)
    out = scene.root / f"masks {name}"
    with suppress(DataError):  # a setting that tune compares may make masks of background alone
        pseudo_masks(scene.data, walked, fixed, out, runtime)
    confusion = Confusion.empty(len(NAMES))
    for photo in photos:
        with Image.open(out / "masks" / f"{photo}.png") as image:
            confusion.add(scene.truths[photo], np.asarray(image))
    return confusion.miou()


def test_drawn_masks_take_the_place_of_those_of_the_data(painted, model):
    drawn = sorted(painted.truths)[:2]
    classes = ClassSet(NAMES)
    with open_corrections(painted.root / "corrections", classes) as writer:
        for photo, verdict in zip(drawn, ("corrected", "good"), strict=True):
            writer.write(Decision(photo, verdict), painted.truths[photo])
        copy_corrections(writer.corrections, painted.data.path / "corrections", classes)
    assert sorted(read_tuning(make(painted, model)).photos) == drawn


def test_the_best_setting_equals_that_of_the_steps(painted, model):
    result = read_tuning(make(painted, model))
    assert len(result.ranked) == 3 * 2 * 3  # the recipe's own α and steps are tried too
    chosen = [result.best, result.ranked[-1], result.untuned]
    for index, tuned in enumerate(chosen):
        wanted = miou_of(painted, model, tuned.setting, tuned.threshold, result.photos, str(index))
        # A pixel in thousands may differ, as sums over more channels are rounded differently.
        assert tuned.miou == pytest.approx(wanted, abs=2e-3)
    assert result.untuned.setting == WalkSetting(2.0, 6.0, 8) and result.untuned.threshold == 0.5
    assert result.best.miou >= max(tuned.miou for tuned in (result.ranked[1], result.untuned))


def test_written_files(painted, model):
    tuning = make(painted, model)
    result, manifest = read_tuning(tuning), tuning.manifest
    drawn = drawn_masked_photos(painted.data, mapped_photos(painted.data, painted.maps), 5)
    assert list(result.photos) == [sample.id for sample, _ in drawn] and len(drawn) == 5
    assert manifest.metrics["photos"] == list(result.photos)
    assert (tuning.path / "photos.txt").read_text().split() == list(result.photos)
    assert manifest.counts == {"photos": 5, "settings": 18 * len(CALIBRATION_THRESHOLDS)}
    with (tuning.path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert float(rows[0]["miou"]) == manifest.metrics["best"]["miou"] == result.best.miou
    assert [float(row["miou"]) for row in rows] == sorted(
        (float(row["miou"]) for row in rows), reverse=True
    )
    values = yaml.safe_load((tuning.path / "best.yaml").read_text())
    assert values == recipe_values(result.best, WALK)
    recipe = load_recipe(
        "tiny",
        [
            f"{section}.{key}={value}"
            for section, keys in values.items()
            for key, value in keys.items()
        ],
    )
    assert (
        WalkSetting(recipe.walk.alpha, recipe.walk.beta, recipe.walk.steps) == result.best.setting
    )
    assert recipe.pseudo_masks.background_threshold == result.best.threshold


def test_results_are_the_same_again_and_on_two_ranks(painted, model):
    # Not started in the threads, as its start changes their number globally.
    runtime = small_runs.one_rank()

    def shared(rank):
        return make(painted, model, name="ranks", runtime=_Ranked(rank, runtime))

    first = make(painted, model)
    for other in (make(painted, model, name="again"), run_on_ranks(shared, 2)[0]):
        for name in ("tuned.json", "table.csv", "photos.txt", "best.yaml"):
            assert (first.path / name).read_bytes() == (other.path / name).read_bytes()


class _Ranked:
    """A rank of the tests with the device of a real runtime."""

    def __init__(self, rank, runtime):
        self._rank, self._runtime = rank, runtime

    def __getattr__(self, name):
        return getattr(self._runtime if name in ("device", "autocast") else self._rank, name)


def test_the_command(painted, model):
    settings = small_runs.write_recipe(
        painted.root / "recipe.yaml",
        tune__alphas=[1.0, 4.0],
        tune__betas=[6.0],
        tune__steps=[2, 8],
        pseudo_masks__crf={"enabled": True},
    )
    done = small_runs.invoke("tune", painted.root, "--photos", "3")
    assert done.exit_code == 0, done.output
    folder = painted.root / "tune"
    result = read_tuning(Tuning.open(folder))
    assert len(result.photos) == 3 and result.untuned.setting.steps == 64
    values = yaml.safe_load((folder / "best.yaml").read_text())
    shown = " ".join(done.stdout.split())
    assert f"--set walk.alpha={values['walk']['alpha']} " in shown
    assert (
        f"--set pseudo_masks.background_threshold={values['pseudo_masks']['background_threshold']} "
        in shown
    )
    assert f"--set evaluate.leave_out={folder / 'photos.txt'}" in done.stdout
    assert "walks on 3 photos, before the CRF" in shown
    assert f" {100 * result.untuned.miou:.2f} %" in shown
    assert yaml.safe_dump(values, sort_keys=False) in done.stdout
    rejected = small_runs.invoke("tune", painted.root, "--photos", "4", "--recipe", settings)
    assert rejected.exit_code == 1 and "tune.photos: 3 -> 4" in rejected.stderr
    again = small_runs.invoke("tune", painted.root, "--photos", "4", "--redo")
    assert again.exit_code == 0 and len(read_tuning(Tuning.open(folder)).photos) == 4


def test_alpha_and_threshold_of_the_recipe_are_tried(painted, model):
    fixed = WALK.model_copy(
        update={"alpha": None, "threshold_from": "fixed", "background_threshold": 0.2219}
    )
    result = read_tuning(
        make(
            painted,
            model,
            walk=fixed,
            masks=PseudoMasks(threshold_from="fixed", background_threshold=0.417),
        )
    )
    assert result.untuned.setting.alpha == pytest.approx(6, abs=0.01)
    assert result.untuned.threshold == 0.417
    assert result.ends == tuple(
        name
        for name, values, value in (
            ("alphas", (1, result.untuned.setting.alpha), result.best.setting.alpha),
            ("betas", (1, 6), result.best.setting.beta),
            ("steps", (2, 80), result.best.setting.steps),
        )
        if value in values
    )


def test_training_photos_without_masks_are_an_error(painted, model):
    painted.masked = {sample.id for sample in painted.samples["val"]}
    painted.write()
    with pytest.raises(DataError, match=r"can't be tuned: no training photo has a mask \[.*Give"):
        make(painted, model)
    assert not (painted.root / "tune").exists()


def test_void_masks(painted, model):
    for sample in painted.samples["train"]:
        Image.new("L", sample.size[::-1], 255).save(painted.root / "photos" / f"{sample.id}.png")
    with pytest.raises(DataError, match="void everywhere"):
        make(painted, model)


def test_unreadable_photos(painted, model):
    photos = read_tuning(make(painted, model)).photos
    samples = {sample.id: sample for sample in painted.samples["train"]}
    bad = next(photo for photo in photos if samples[photo].tags)
    samples[bad].image.write_bytes(b"")
    with pytest.raises(DataError, match=r"\.jpg"):
        make(painted, model, name="strict")
    tuning = make(painted, model, SECTION.model_copy(update={"skip_bad": True}), name="skips")
    assert [line.partition(":")[0] for line in tuning.manifest.skipped] == [bad]
    assert read_tuning(tuning).photos == tuple(photo for photo in photos if photo != bad)


def test_a_complete_folder_is_kept_and_other_settings_are_rejected(painted, model):
    tuning = make(painted, model)
    before = (tuning.path / "tuned.json").stat().st_mtime_ns
    assert make(painted, model) == tuning
    assert (tuning.path / "tuned.json").stat().st_mtime_ns == before
    with pytest.raises(RunFolderError, match=r"tune\.betas: .*tune --redo") as rejected:
        make(painted, model, SECTION.model_copy(update={"betas": (3.0,)}))
    assert "run --redo" not in str(rejected.value)
    with pytest.raises(RunFolderError, match=r"tune\.walk\.radius: null -> 2"):
        make(painted, model, walk=WALK.model_copy(update={"radius": 2}))
    painted.samples["train"][0] = replace(painted.samples["train"][0], stamp="2-2")
    painted.write()
    make(painted, model)  # the data changed: computed again
    assert (tuning.path / "tuned.json").stat().st_mtime_ns != before


def test_a_tuning_from_before_a_key_was_added_is_valid(painted, model):
    found = make(painted, model).manifest.section  # what its identity is computed from
    assert found["walk"]["beta"] == 6.0 and found["photos"] == 5
    assert not {"affinity", "enabled", "skip_bad"} & {*found["walk"], *found}
    skipping = WALK.model_copy(update={"skip_bad": True, "enabled": False})
    assert make(painted, model, walk=skipping).manifest.section == found


def test_a_damaged_result(painted, model):
    tuning = make(painted, model)
    (tuning.path / "tuned.json").write_text('{"photos": []}')
    with pytest.raises(RunFolderError, match=r"not a tuned\.json of tag2mask"):
        read_tuning(tuning)
