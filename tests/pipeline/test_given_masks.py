"""Runs that are given masks: every step that makes pseudo masks is left out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_runs import invoke, prepared, recipe, write_photos, write_recipe
from tag2mask.artifacts.handles import MASKS_MADE_BY, Evaluation, SegmenterModel, section_name
from tag2mask.artifacts.step_table import RUN_STEPS
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.prepare.listing import list_data
from tag2mask.errors import DataError, ProblemsError, RecipeError, RunFolderError
from tag2mask.evaluation.records import read_scores
from tag2mask.pipeline.dry_run import dry_run
from tag2mask.pipeline.status import status, step_index, steps_of
from tag2mask.recipe.effects import NEEDS
from tag2mask.recipe.loading import RECIPE_HEAD, load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.report.model_card import scores_of
from tag2mask.review.folder import open_review
from tag2mask.steps.mask_exchange.given import (
    check_given_masks,
    open_given_masks,
    unused_masks_warnings,
)

STEPS = ["prepare", "train-segmenter", "predict", "evaluate", "report"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "data", masks=True)


@pytest.fixture(scope="module")
def drawn(photos: Path) -> Path:
    """The masks of the data, imported as drawn."""
    data = prepared(photos, photos.parent / "prepare")
    out = photos.parent / "drawn masks"
    arguments = ("masks", "import", photos / "masks", "--data", data.path, "--out", out, "--drawn")
    result = invoke(*arguments)
    assert result.exit_code in (0, 3), result.output
    return out


@pytest.fixture
def masks(drawn: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(drawn, tmp_path / "masks"))


def given(folder: Path) -> Recipe:
    return recipe().model_copy(update={"masks": str(folder)})


def captions_of(page: str) -> set[str]:
    """Return the captions of the pictures of a report."""
    return set(re.findall("<figcaption>(.*?)</figcaption>", page))


def test_a_run_learns_from_given_masks_alone(photos: Path, drawn: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "run", write_recipe(tmp_path / "small.yaml")
    command = ("run", "--data", photos, "--out", out, "--recipe", settings, "--masks", drawn)
    planned = invoke(*command, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "train-cam" not in planned.output and not out.exists()
    result = invoke(*command)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == sorted(STEPS)
    trained, evaluation = SegmenterModel.open(out / STEPS[1]), Evaluation.open(out / "evaluate")
    assert trained.manifest.metrics[MASKS_MADE_BY] == "drawn"
    assert evaluation.manifest.metrics[MASKS_MADE_BY] == "drawn"
    train, val = read_scores(evaluation).splits
    assert train.masks.miou == val.masks.miou == 1.0, "the masks are those of the data"
    assert train.network is not None and val.network is not None
    rows, _ = scores_of(read_scores(evaluation))
    assert {row.masks_of for row in rows} == {"the network (segmenter)", "the given masks (drawn)"}
    page = (out / "report" / "index.html").read_text()
    assert "it was given masks drawn or checked by people" in page
    assert "mIoU of the drawn masks" in page and "drawn mask" in captions_of(page)
    assert "pseudo mask" not in page
    assert not any(f'id="{name}"' in page for name in ("tags", "background-threshold"))
    reviewed = open_review(out)
    assert list(reviewed.masks) == ["given mask", "network"]
    assert reviewed.masks["given mask"].samefile(drawn / "masks")
    # The run keeps the masks in its recipe.
    assert [(found.step, found.folder.state) for found in status(out)] == [
        (step, "fresh") for step in STEPS
    ]
    own = load_recipe(out / "recipe.yaml")
    assert {step.action for step in dry_run(photos, own, out).steps} == {"skip"}
    # A moved folder of masks is the same; other masks are other settings.
    moved = shutil.copytree(drawn, tmp_path / "moved")
    assert {step.action for step in dry_run(photos, given(moved), out).steps} == {"skip"}
    other = invoke(*command[:-1], own_masks := tmp_path / "other masks", "--dry-run")
    assert other.exit_code == 1 and str(own_masks) in other.output
    back = dry_run(photos, recipe(), out)
    assert isinstance(back.refusal, RunFolderError) and "masks: " in back.refusal.what
    with open_corrections(reviewed.corrections, reviewed.classes) as writer:
        writer.write(Decision("a/00", "bad"))
    words = ("run", "--data", photos, "--out", out, "--corrections", reviewed.corrections)
    corrected = invoke(*words, "--update", "--yes")
    assert corrected.exit_code == 0, corrected.output
    again = SegmenterModel.open(out / STEPS[1]).manifest
    assert again.counts["bad"] == 1 and again.metrics[MASKS_MADE_BY] == "drawn"


def test_the_left_out_steps_are_those_of_the_table_and_of_the_settings() -> None:
    names = {section_name(row.name) for row in RUN_STEPS if row.makes_masks}
    (need,) = (need for need in NEEDS if need.other == "masks")
    assert {key.removesuffix(".*") for key in need.keys} - {
        "evaluate.crf",
        "evaluate.thresholds",
    } == names
    assert [kind.step for kind in steps_of(given(Path("x")))] == STEPS


@pytest.mark.parametrize(
    "setting", ["train_cam.epochs=3", "walk.steps=9", "evaluate.crf.enabled=true"]
)
def test_settings_of_left_out_steps_are_refused_where_they_are_given(setting: str) -> None:
    with pytest.raises(RecipeError, match="no effect with masks=x"):
        load_recipe("lite0-cpu", ["masks=x", setting])
    load_recipe("cam-baseline", ["masks=x", "walk.skip_bad=true"])


def test_ground_truth_and_a_left_out_step_contradict_masks() -> None:
    with pytest.raises(RecipeError, match="doesn't learn from the masks that are given"):
        load_recipe("lite0-cpu", ["masks=x", "train_segmenter.masks=ground truth"])
    with pytest.raises(RunFolderError, match="a run that is given masks leaves walk out"):
        step_index("walk", given(Path("x")))


def test_masks_that_dont_fit_are_listed_at_once(photos: Path, masks: Path) -> None:
    inventory = list_data(photos, recipe().prepare, None)
    check_given_masks(masks, inventory)
    assert unused_masks_warnings(masks, inventory) == ()
    (masks / "masks" / "a" / "00.png").unlink()
    Image.fromarray(np.zeros((9, 7), np.uint8)).save(masks / "masks" / "a" / "02.png")
    Image.fromarray(np.zeros((9, 7), np.uint8)).save(masks / "masks" / "z.png")
    (masks / "masks" / "b" / "03.png").unlink()  # for validation: it may lack one
    with pytest.raises(ProblemsError) as caught:
        check_given_masks(masks, inventory)
    assert list(caught.value.problems) == [
        "photo 'a/00' has no mask",
        "photo 'a/02' is 64x64 px, its mask 7x9",
    ]
    assert unused_masks_warnings(masks, inventory) == (
        "1 given mask is of no photo of the data: z",
    )


def test_masks_of_other_classes_and_other_folders_are_refused(
    photos: Path, masks: Path, tmp_path: Path
) -> None:
    manifest = masks / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"cat"', '"cow"'))
    inventory = list_data(photos, recipe().prepare, None)
    with pytest.raises(DataError, match="the masks are of the classes cow"):
        check_given_masks(masks, inventory)
    for wrong in (photos / "masks", tmp_path / "nothing", photos.parent / "prepare"):
        with pytest.raises(RunFolderError, match="tag2mask masks import"):
            open_given_masks(wrong)


def test_a_run_keeps_no_masks_of_its_own_beside_given_ones(
    photos: Path, drawn: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(photos.parent / "prepare", out / "prepare")
    shutil.copytree(drawn, out / "pseudo-masks")
    with pytest.raises(RunFolderError, match="has made some itself: pseudo-masks"):
        dry_run(photos, given(drawn), out)
    assert dry_run(photos, given(drawn), out, redo="prepare").refusal is None
    with pytest.raises(RunFolderError, match="that are its own"):
        dry_run(photos, given(out / "pseudo-masks"), out, redo="prepare")
    # A new run takes what it can of that run, and learns from its masks.
    (out / "recipe.yaml").write_text(RECIPE_HEAD)
    plan = dry_run(photos, given(out / "pseudo-masks"), tmp_path / "new", source=out)
    assert plan.refusal is None
    assert [step.action for step in plan.steps] == ["skip", *["run"] * 4]
