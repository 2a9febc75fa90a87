"""Background thresholds calibrated on drawn masks, and scores without their photos."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenes import NAMES, OneRank, Scene, discs

from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import copy_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.recipe.sections import Evaluate
from tag2mask.steps import threshold_choice
from tag2mask.steps.evaluate import evaluate
from tag2mask.steps.pseudo_masks import pseudo_masks

CLASSES = ClassSet(NAMES)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Discs without ground truth but for the masks of three photos that were drawn or accepted."""
    made = discs(tmp_path)
    made.masked = set()
    made.write()
    assert made.data is not None
    with open_corrections(tmp_path / "corrections", CLASSES) as writer:
        for photo in ("train/0", "train/2", "val/8"):
            writer.write(Decision(photo, "corrected"), made.truths[photo])
        writer.write(Decision("train/1", "good"), made.truths["train/1"])
        copy_corrections(writer.corrections, made.data.path / "corrections", CLASSES)
    return made


def test_enough_drawn_masks_calibrate_auto(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pseudo_masks(scene.data, scene.maps, PseudoMasks(), scene.root / "few", OneRank())
    assert made.manifest.metrics["background_source"] == "estimated"
    monkeypatch.setattr(threshold_choice, "ENOUGH_MASKS", 3)
    made = pseudo_masks(scene.data, scene.maps, PseudoMasks(), scene.root / "enough", OneRank())
    assert made.manifest.metrics["background_source"] == "calibrated"
    listed = (made.path / "calibration_photos.txt").read_text().split()
    assert listed == ["train/0", "train/1", "train/2"]  # validation photos don't calibrate


def test_calibrated_reads_drawn_masks_where_the_data_has_none(scene: Scene) -> None:
    section = PseudoMasks(threshold_from="calibrated")
    made = pseudo_masks(scene.data, scene.maps, section, scene.root / "out", OneRank())
    assert made.manifest.metrics["calibration_miou"] > 0.5
    assert "corrections" in made.manifest.coverage
    with open_corrections(scene.root / "corrections", CLASSES) as writer:
        writer.write(Decision("val/8", "bad"))
        writer.write(Decision("train/3", "bad"))
        copy_corrections(writer.corrections, scene.data.path / "corrections", CLASSES)
    again = pseudo_masks(scene.data, scene.maps, section, scene.root / "out", OneRank())
    assert again.fingerprint == made.fingerprint, "no other mask is read"


def test_drawn_photos_are_scored_only_when_asked(scene: Scene) -> None:
    masks = pseudo_masks(scene.data, scene.maps, PseudoMasks(), scene.root / "masks", OneRank())

    def scored(name: str, section: Evaluate) -> tuple[dict[str, int], object]:
        out = scene.root / name
        found = evaluate(scene.data, scene.maps, masks, section, out, OneRank()).manifest
        return found.counts, found.metrics["train"]["miou"]

    assert scored("without", Evaluate()) == ({"train": 5, "val": 2, "left_out": 4}, None)
    counts, miou = scored("with", Evaluate(use_drawn=True))
    assert counts == {"train": 8, "val": 3} and isinstance(miou, float) and miou > 0.3
