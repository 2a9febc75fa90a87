"""Which step a run repeats because of corrections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from small_runs import invoke, recipe, write_photos, write_recipe
from tag2mask.artifacts.handles import MODEL_FILE, CamModel, PreparedData, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import CORRECTIONS, Corrections, read_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.index import read_index
from tag2mask.data.inventory import Inventory, InventoryEntry
from tag2mask.errors import DataChangedError, PartError, RunFolderError
from tag2mask.pipeline.corrections import few_masks_warning, fine_tuning, step_to_redo
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.steps.prepare import prepare

STEP = SegmenterModel.step


@pytest.fixture
def corrections(tmp_path: Path) -> Path:
    decide(tmp_path / "corrections", Decision("a/00", "bad"))
    return tmp_path / "corrections"


def decide(folder: Path, decision: Decision) -> None:
    with open_corrections(folder, ClassSet(("cat", "dog", "bird"))) as writer:
        writer.write(decision)


def trained(run: Path, learned: Path | None, settings: Recipe) -> Path:
    """A run whose network learned from corrections."""
    inputs = {} if learned is None else {CORRECTIONS: read_corrections(learned).label_fingerprint()}
    section = settings.train_segmenter
    with step_folder(SegmenterModel, run / STEP, section=section, inputs=inputs) as step:
        (step.path / MODEL_FILE).write_bytes(b"network")
        step.finish()
    write_recipe(run / "recipe.yaml")
    return run


def test_an_update_trains_again_only_with_other_corrections(
    tmp_path: Path, corrections: Path
) -> None:
    settings = recipe()
    run = trained(tmp_path / "run", corrections, settings)
    assert step_to_redo(settings, run, corrections) is None
    decide(corrections, Decision("a/00", "bad", ("dog",)))  # tags are another matter
    decide(corrections, Decision("b/01", "unsure"))
    assert step_to_redo(settings, run, corrections, update=True) is None
    decide(corrections, Decision("a/00", None))
    assert step_to_redo(settings, run, corrections, update=True) == STEP
    assert step_to_redo(settings, run, corrections, redo="train-cam") == "train-cam"
    assert step_to_redo(settings, run, corrections, redo="evaluate", update=True) == STEP
    assert step_to_redo(settings, run, corrections, until="pseudo-masks") is None
    assert step_to_redo(settings, run, None) is None
    with pytest.raises(DataChangedError, match="has learned from other corrections"):
        step_to_redo(settings, run, corrections)


def test_verdicts_about_validation_photos_teach_nothing(tmp_path: Path, corrections: Path) -> None:
    settings, run = recipe(), tmp_path / "run"
    photos = write_photos(tmp_path / "photos")
    prepare(photos, settings.prepare, run / PreparedData.step, corrections=corrections)
    learned = read_corrections(corrections).learned_fingerprint(run / PreparedData.step)
    trained(run, corrections, settings)
    validation = read_index(run / PreparedData.step, "val")[0].id
    for verdict in ("good", "bad"):
        decide(corrections, Decision(validation, verdict))
        assert read_corrections(corrections).label_fingerprint() != learned
        assert step_to_redo(settings, run, corrections, update=True) is None
    decide(corrections, Decision("new", "corrected"))  # an update may add its photo
    assert step_to_redo(settings, run, corrections, update=True) == STEP


def test_no_redo_deletes_corrections(tmp_path: Path) -> None:
    photos, run = write_photos(tmp_path / "photos"), tmp_path / "run"
    words = ["run", "--data", photos, "--out", run, "--until", "prepare"]
    assert invoke(*words, "--recipe", write_recipe(tmp_path / "recipe.yaml")).exit_code == 0
    own = run / CORRECTIONS
    with open_corrections(own, ClassSet(("cat", "dog", "bird"))) as writer:
        writer.write(Decision("a/00", "corrected"), np.full((48, 64), 1, np.uint8))
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    done = invoke(*words, "--redo", "prepare", "--corrections", own, "--yes")
    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before
    manifest = PreparedData.open(run / PreparedData.step).manifest
    assert manifest.counts["drawn"] == 1 and len(before) >= 3


def test_a_network_without_corrections_is_trained_again(tmp_path: Path, corrections: Path) -> None:
    settings, run = recipe(), tmp_path / "run"
    assert step_to_redo(settings, run, corrections) is None  # nothing trained yet
    trained(run, None, settings)
    assert step_to_redo(settings, run, corrections, update=True) == STEP
    other = recipe(train_segmenter__enabled=False)
    assert step_to_redo(other, run, corrections) is None


def test_a_new_run_takes_everything_but_the_network(tmp_path: Path, corrections: Path) -> None:
    settings = recipe()
    run = trained(tmp_path / "run", None, settings)
    assert step_to_redo(settings, tmp_path / "new", corrections, source=run) == STEP


def test_status_counts_decisions_that_no_step_used(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    run = tmp_path / "run"
    prepare(tmp_path / "photos", recipe().prepare, run / PreparedData.step)
    write_recipe(run / "recipe.yaml")
    assert "corrections:" not in invoke("status", run).output
    photos = [sample.id for sample in read_index(run / PreparedData.step, "train")]
    decide(run / CORRECTIONS, Decision(photos[0], "bad"))
    decide(run / CORRECTIONS, Decision(photos[1], None, ("dog",)))
    decide(run / CORRECTIONS, Decision(photos[2], "unsure"))  # teaches nothing
    decide(run / CORRECTIONS, Decision(photos[2], None))
    printed = " ".join(invoke("status", run).output.split())
    assert "corrections: 2 decisions aren't used yet" in printed
    prepare(
        tmp_path / "photos",
        recipe().prepare,
        run / PreparedData.step,
        corrections=run / CORRECTIONS,
        update=True,
    )
    assert "corrections:" not in invoke("status", run).output
    decide(run / CORRECTIONS, Decision(photos[0], None))
    assert "1 decision isn't used" in " ".join(invoke("status", run).output.split())


def test_corrections_are_not_lost_with_prepare(tmp_path: Path, corrections: Path) -> None:
    settings, run = recipe(), tmp_path / "run"
    photos = write_photos(tmp_path / "photos")
    prepare(photos, settings.prepare, run / PreparedData.step, corrections=corrections)
    with pytest.raises(RunFolderError, match="corrections, which would be lost"):
        step_to_redo(settings, run, None, redo="prepare")
    assert step_to_redo(settings, run, corrections, redo="prepare") == "prepare"


@pytest.mark.slow
def test_a_run_with_corrections(tmp_path: Path) -> None:
    """Run, correct, update: only the network is trained again, and evaluation leaves photos out."""
    photos, out = write_photos(tmp_path / "photos", masks=True), tmp_path / "run"
    threshold = {"threshold_from": "fixed", "background_threshold": 0.0}
    settings = write_recipe(tmp_path / "recipe.yaml", walk__enabled=False, pseudo_masks=threshold)
    words = ["run", "--data", photos, "--out", out]
    done = invoke(*words, "--recipe", settings)
    assert done.exit_code == 0, done.output
    cam, before = CamModel.open(out / "train-cam"), SegmenterModel.open(out / STEP).manifest
    weights = cam.file.read_bytes()
    decide(out / CORRECTIONS, Decision("a/00", "bad"))
    decide(out / CORRECTIONS, Decision("b/01", "good"))
    refused = invoke(*words, "--corrections", out / CORRECTIONS)
    assert refused.exit_code == 1 and "--update" in refused.output
    plan = invoke(*words, "--corrections", out / CORRECTIONS, "--update", "--dry-run")
    assert plan.exit_code == 0, plan.output
    done = invoke(*words, "--corrections", out / CORRECTIONS, "--update", "--yes")
    assert done.exit_code == 0, done.output
    assert cam.file.read_bytes() == weights
    after = SegmenterModel.open(out / STEP).manifest
    assert after.fingerprint != before.fingerprint
    counts = after.counts
    assert counts["accepted"] == 1 and counts["bad"] == 1
    rows = (out / "evaluate" / "photos.jsonl").read_text()
    assert '"a/00"' in rows and '"b/01"' not in rows
    decide(out / CORRECTIONS, Decision("b/03", "good"))  # a validation photo
    done = invoke(*words, "--corrections", out / CORRECTIONS, "--update", "--yes")
    assert done.exit_code == 0, done.output
    assert SegmenterModel.open(out / STEP).manifest == after
    assert '"b/03"' in rows and '"b/03"' not in (out / "evaluate" / "photos.jsonl").read_text()
    same = invoke(*words)
    assert same.exit_code == 0, same.output
    page = (out / "report" / "index.html").read_text()
    assert "1 accepted" in page
    decide(out / CORRECTIONS, Decision("a/04", "bad"))
    told = " ".join(invoke("status", out).output.split())
    assert f"1 decision isn't used yet; `tag2mask run` uses them with --corrections {out}" in told
    assert f"in a new run, --from {out} --fine-tune trains this run's network on" in told
    new = tmp_path / "new €"
    branch = ["run", "--data", photos, "--out", new, "--from", out]
    corrected = ["--corrections", out / CORRECTIONS, "--update", "--fine-tune"]
    done = invoke(*branch, *corrected, "--set", "train_segmenter.epochs=1")
    assert done.exit_code == 0, done.output
    printed = " ".join(done.output.split())
    assert "fine-tuned with 1 sure mask, drawn or accepted. So few may make it worse" in printed
    section = SegmenterModel.open(new / STEP).manifest.section
    assert section["init_from"] == str(out / STEP / MODEL_FILE)
    assert (section["masks"], section["epochs"]) == ("mixed", 1)
    rate = before.section["optimizer"]["lr"]
    assert (section["drawn_share"], section["drawn_weight"]) == (0.75, 2)
    assert section["optimizer"]["lr"] == pytest.approx(rate / 3, rel=1e-5)
    assert f"train_segmenter.optimizer.lr={rate / 3:.6g}" in fine_tuning(new)
    assert "train_segmenter.epochs=1" in fine_tuning(new)
    assert (new / "train-cam" / MODEL_FILE).read_bytes() == weights
    again = invoke(*branch, *corrected, "--set", "train_segmenter.epochs=1")
    assert again.exit_code == 0, again.output


def test_fine_tuning_needs_a_network_and_drawn_masks(tmp_path: Path) -> None:
    photos, out = write_photos(tmp_path / "photos"), tmp_path / "run"
    words = ["run", "--data", photos, "--fine-tune"]
    alone = invoke(*words, "--out", out)
    assert alone.exit_code == 2 and "give --from" in alone.output
    begun = ["run", "--data", photos, "--out", out, "--until", "prepare"]
    assert invoke(*begun, "--recipe", write_recipe(tmp_path / "recipe.yaml")).exit_code == 0
    branch = [*words, "--from", out, "--out", tmp_path / "new"]
    refused = invoke(*branch)
    assert refused.exit_code == 1 and "no training photo has a drawn" in refused.output
    mask = np.zeros(read_index(out / PreparedData.step, "train")[1].size, np.uint8)
    with open_corrections(tmp_path / "drawn", ClassSet(("cat", "dog", "bird"))) as writer:
        writer.write(Decision("a/02", "corrected"), mask)
    refused = invoke(*branch, "--corrections", tmp_path / "drawn")
    assert refused.exit_code == 1 and "no such model file" in refused.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("number", "warned"), [(29, True), (30, False)])
def test_few_masks_to_fine_tune_with_are_a_warning(number: int, warned: bool) -> None:
    entries = tuple(
        InventoryEntry(f"{i}", "val" if i >= 100 else "train", ("cat",), f"{i}.jpg", "1-1")
        for i in range(200)
    )
    sure = {f"{i}": Decision(f"{i}", "corrected") for i in range(number)}
    sure |= {f"{i}": Decision(f"{i}", "bad") for i in range(50, 90)}
    sure |= {f"{i}": Decision(f"{i}", "good") for i in range(100, 150)}  # validation photos
    data = Inventory(
        "csv", Path("photos"), ("cat",), entries, corrections=Corrections(Path("drawn"), sure)
    )
    new, on = recipe(), {"masks": "mixed", "init_from": "model.safetensors"}
    text = few_masks_warning(recipe(train_segmenter=on), data)
    assert (text is not None and "29 sure masks" in text) is warned
    assert few_masks_warning(new, data) is None
    mixed = recipe(train_segmenter={"masks": "mixed"})
    assert few_masks_warning(mixed, data) is None
    assert few_masks_warning(recipe(train_segmenter=on), replace(data, corrections=None)) is None


def test_fine_tuning_leaves_consent_to_modules_to_the_new_run(tmp_path: Path) -> None:
    extra = [{"module": "somebody.elses:Loss", "weight": 0.1}]
    settings = write_recipe(tmp_path / "recipe.yaml", train_cam__losses={"extra": extra})
    assert "train_segmenter.masks=mixed" in fine_tuning(settings.parent)
    with pytest.raises(PartError):
        load_recipe(str(settings))
