"""Files of a run folder: what the steps wrote, and later commands read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scenes import OneRank, discs

from campaigns.fuzz_target import Target
from tag2mask.ablation.scores import measurements
from tag2mask.affinity.tuning import TunedWalk, WalkGrid
from tag2mask.artifacts.handles import CamModel, Evaluation, Tuning
from tag2mask.artifacts.journal import Journal, recorded_items
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.cli.console import show_handle
from tag2mask.cli.tables import show_status, show_tuning
from tag2mask.data.index import (
    masks_fingerprint,
    photos_fingerprint,
    read_classes,
    read_index,
    read_mask_paths,
)
from tag2mask.evaluation.records import read_scores
from tag2mask.evaluation.tables import format_scores
from tag2mask.files.json_file import read_json, write_json
from tag2mask.maps.threshold_sources import BackgroundThreshold
from tag2mask.pipeline.status import status
from tag2mask.recipe.loading import dump_recipe, load_recipe
from tag2mask.recipe.maps_to_masks import PseudoMasks, Walk
from tag2mask.recipe.sections import Evaluate, Report
from tag2mask.report.model_card import scores_of
from tag2mask.report.page import Page, render
from tag2mask.report.run_folder import open_runs
from tag2mask.report.sections.classes import class_section, confusion_section, tag_section
from tag2mask.report.sections.runs import recipe_section, timing_section, training_section
from tag2mask.report.sections.scored_runs import ScoredRun
from tag2mask.report.sections.scores import curve_section, numbers_section
from tag2mask.report.sections.stages import stage_section
from tag2mask.steps.evaluate import evaluate
from tag2mask.steps.pseudo_masks import pseudo_masks
from tag2mask.steps.report import report
from tag2mask.steps.threshold_choice import kept_background_threshold
from tag2mask.steps.tuning_result import TuningResult, read_tuning, recipe_values, write_tuning
from tag2mask.training.log import best_of_validation, last_metrics, write_validation

_LOSSES = "step,loss,er,lr\n" + "".join(f"{step},{1 / step:.6g},,0.01\n" for step in range(1, 30))


@cache
def _finished_run() -> Path:
    """Make a run folder with all steps that need no network, once per process."""
    scene = discs(Path(tempfile.mkdtemp(prefix="fuzz-run-")))
    rng, rank, run = np.random.default_rng(1), OneRank(), scene.root
    for samples in scene.samples.values():
        for sample in samples:
            pixels = rng.integers(0, 255, (*sample.size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(sample.image)
    section = PseudoMasks(threshold_from="estimated")
    masks = pseudo_masks(scene.data, scene.maps, section, run / "pseudo-masks", rank)
    evaluate(scene.data, scene.maps, masks, Evaluate(), run / "evaluate", rank)
    with step_folder(CamModel, run / "train-cam", section={}) as step:
        (step.path / "losses.csv").write_text(_LOSSES)
        (step.path / "model.safetensors").write_bytes(b"weights")
        step.finish(counts={"steps": 29}, metrics={"loss": 0.1}, skipped=["a/b: cut off"])
    write_validation(run / "train-cam", 10, {"miou": 0.5, "loss": 1.0})
    (run / "recipe.yaml").write_text(dump_recipe(load_recipe("tiny", ["name=small"])))
    return run


def _run(folder: Path) -> Path:
    """Fill a folder with a finished run."""
    run = folder / "run"
    shutil.copytree(_finished_run(), run)
    source = read_json(run / "prepare" / "source.json")
    write_json(run / "prepare" / "source.json", source | {"root": str(run / "photos")})
    return run


def _files(*names: str) -> Callable[[Path], Sequence[Path]]:
    return lambda folder: [_run(folder) / names[0], *(folder / "run" / name for name in names[1:])]


def _run_of(file: Path) -> Path:
    return next(parent for parent in file.parents if parent.name == "run")


def _read_manifests(file: Path) -> None:
    run = _run_of(file)
    show_status(status(run))
    (opened,) = open_runs([run])
    for handle in opened.handles():
        show_handle(type(handle).open(handle.path))
    sections = (timing_section([opened]), recipe_section([opened], None))
    render(Page(opened.label, "", sections))


def _read_index(file: Path) -> None:
    samples = {split: read_index(file.parent, split) for split in ("train", "val")}
    photos_fingerprint(samples)
    masks_fingerprint(file.parent)
    read_mask_paths(file.parent)
    assert read_classes(file.parent).mask_names
    for sample in (*samples["train"], *samples["val"]):
        assert min(sample.size) > 0 and all(tag >= 0 for tag in sample.tags)


def _read_journal(file: Path) -> None:
    assert all(isinstance(key, str) for key in recorded_items(file.parent).values())
    journal = Journal(file.parent, 0)
    journal.drop_missing({"train/0"}, lambda item: [file.parent / "maps" / f"{item}.none"])
    journal.record("train/0", "new")
    journal.close()


def _read_logs(file: Path) -> None:
    last_metrics(file.parent)
    best_of_validation(file.parent)
    write_validation(file.parent, 20, {"miou": 0.6, "loss": 0.9})
    section = training_section(open_runs([_run_of(file)]))
    render(Page("", "", (section,)))


def _read_evaluation(file: Path) -> None:
    scores = read_scores(Evaluation(file.parent))
    format_scores(scores)
    measurements(scores)
    scores_of(scores)
    scored = [ScoredRun("a", 0, scores)]
    sections = (numbers_section, stage_section, curve_section, class_section, tag_section)
    page = (*(section(scored) for section in sections), confusion_section(scored))
    render(Page("", "", page))


def _read_run(file: Path) -> None:
    run = _run_of(file)
    shutil.rmtree(run / "report", ignore_errors=True)
    report(run, Report(photos=2), run / "report")


def _write_tuning(folder: Path) -> list[Path]:
    grid = WalkGrid((8.0,), (2.0,), (1, 2), (0.1, 0.2, 0.3))
    tuned = tuple(TunedWalk(setting, 0.3, 0.5) for setting in grid.settings)
    result = TuningResult(("train/0", "train/1"), tuned[0], tuned, ("betas",))
    write_tuning(folder, result, Walk(), grid, np.full((len(tuned), 3), 0.5))
    return [folder / "tuned.json"]


def _read_tuning(file: Path) -> None:
    result = read_tuning(Tuning(file.parent))
    show_tuning(result, recipe_values(result.best, Walk()), file, crf=True)


def _write_background(folder: Path) -> list[Path]:
    found = BackgroundThreshold(0.25, "estimated", ("train/0", "train/1"), None)
    write_json(folder / "background.json", asdict(found))
    return [folder / "background.json"]


def _read_background(file: Path) -> None:
    found = kept_background_threshold(file.parent, None, None, PseudoMasks(), OneRank())
    assert 0 <= found.threshold <= 1


_KEYS = (b'"photos"', b'"size"', b'"tags"', b'"id"', b'"step"', b'"path"', b'"metrics"', b'"key"')
_RUN_FILES = ("evaluate/photos.jsonl", "evaluate/evaluation.json", "recipe.yaml")
TARGETS = (
    Target(
        "manifest.json",
        _files(*(f"{step}/manifest.json" for step in ("prepare", "train-cam", "evaluate"))),
        _read_manifests,
        _KEYS,
    ),
    Target(
        "prepare's index",
        _files(
            *(f"prepare/{n}.jsonl" for n in ("train", "val", "masks")),
            *(f"prepare/{n}.json" for n in ("classes", "source")),
        ),
        _read_index,
        (*_KEYS, b'"stamp"', b'"mask"', b'"drawn"', b'"root"', b'"names"', b"[48, 40]"),
    ),
    Target(
        "items.jsonl",
        _files("pseudo-masks/items.jsonl"),
        _read_journal,
        (*_KEYS, b'"session"', b'{"id": "images/0000", "key": "b", "time": "c"}'),
    ),
    Target(
        "training logs",
        _files("train-cam/losses.csv", "train-cam/validation.csv"),
        _read_logs,
        (b"step", b"loss", b"inf", b"-inf", b"1e308", b"-1e308", b"1e-320", b"lr"),
        share=0.5,
    ),
    Target("evaluation.json", _files("evaluate/evaluation.json"), _read_evaluation, _KEYS, 0.5),
    Target("report of a run", _files(*_RUN_FILES), _read_run, _KEYS, share=0.1),
    Target("background.json", _write_background, _read_background, _KEYS),
    Target("tuned.json", _write_tuning, _read_tuning, (*_KEYS, b'"alpha"', b'"settings"')),
)
