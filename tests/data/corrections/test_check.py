"""Corrections against the data: tags, photos that left, classes, masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_folders import write_data

from small_runs import invoke
from tag2mask.artifacts.handles import PreparedData
from tag2mask.classes import ClassSet
from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import corrections_of
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.index import read_index
from tag2mask.errors import DataChangedError, DataError, ProblemsError
from tag2mask.recipe.sections import Prepare
from tag2mask.steps.prepare import prepare

CLASSES = ClassSet(("cat", "dog"))
MASK = np.array([[0, 1, 1, 0, 0, 0, 0, 2]] * 6, np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = "a,cat,train\nb,dog,train\nc,cat;dog,train\nd,cat,val\ne,cat;dog,train\n"
    return write_data(tmp_path / "data", rows, "cat dog", photos="a b c d e")


@pytest.fixture
def corrections(tmp_path: Path) -> Path:
    return tmp_path / "corrections"


def decide(folder: Path, *decisions: Decision, mask: np.ndarray | None = None) -> None:
    with open_corrections(folder, CLASSES) as writer:
        for decision in decisions:
            writer.write(decision, mask)


def tags(folder: PreparedData) -> dict[str, tuple[int, ...]]:
    return {sample.id: sample.tags for sample in read_index(folder.path, "train")}


def test_prepare_corrects_tags_and_keeps_a_copy(
    data: Path, corrections: Path, tmp_path: Path
) -> None:
    decide(corrections, Decision("a", None, ("dog",), ("cat",)), Decision("b", "bad"))
    decide(corrections, Decision("c", "corrected", (), ("dog",)), mask=MASK)
    out = tmp_path / "prepare"
    made = prepare(data, Prepare(), out, corrections=corrections)
    assert tags(made) == {"a": (1,), "b": (1,), "c": (0,), "e": (0, 1)}
    counts = made.manifest.counts
    assert {key: counts[key] for key in ("drawn", "imported", "accepted", "bad")} == {
        "drawn": 1,
        "imported": 0,
        "accepted": 0,
        "bad": 1,
    }
    assert counts["with_corrected_tags"] == 2
    assert set(corrections_of(out).masks()) == {"c"}
    decide(corrections, Decision("b", "good"))  # reviewing goes on: this run keeps its copy
    assert prepare(data, Prepare(), out).manifest == made.manifest
    again = prepare(data, Prepare(), out, corrections=corrections)
    assert again.fingerprint == made.fingerprint  # no photo and no tag changed
    assert corrections_of(out).decisions["b"].verdict == "good"


def test_other_tags_are_a_change_of_the_data(data: Path, corrections: Path, tmp_path: Path) -> None:
    out = tmp_path / "prepare"
    prepare(data, Prepare(), out)
    decide(corrections, Decision("a", None, ("dog",)))
    with pytest.raises(DataChangedError, match="1 photo with other tags"):
        prepare(data, Prepare(), out, corrections=corrections)
    assert not (out / "corrections").exists()
    assert tags(prepare(data, Prepare(), out, update=True, corrections=corrections))["a"] == (0, 1)


def test_photos_that_left_the_data_are_named(data: Path, corrections: Path, tmp_path: Path) -> None:
    decide(corrections, Decision("gone", "corrected"), Decision("gone-too", "bad"), mask=MASK)
    with pytest.raises(ProblemsError, match="2 corrections are of photos that the data doesn't"):
        prepare(data, Prepare(), tmp_path / "all", corrections=corrections)
    decide(corrections, Decision("a", "good"))
    report = check_data(data, corrections=corrections)
    assert not report.errors
    assert any("(gone, gone-too)" in text and "not used" in text for text in report.warnings)


def test_masks_are_checked(data: Path, corrections: Path) -> None:
    decide(corrections, Decision("a", "corrected"), mask=MASK[:, :4])
    decide(corrections, Decision("b", "corrected"))
    decide(corrections, Decision("c", "good"), mask=np.full_like(MASK, 255))
    decide(corrections, Decision("d", "corrected"), mask=MASK)
    decide(corrections, Decision("e", "good"), mask=MASK)
    (corrections / "masks" / "e.png").unlink()
    report = check_data(data, corrections=corrections)
    size, missing, gone = sorted(report.errors)
    assert "photo 'e' was accepted, but its mask is missing" in gone
    assert "photo 'a' has a different size: mask 4x6, photo 8x6 px" in size
    assert "photo 'b' was corrected, but its mask is missing" in missing
    assert any("255 (not labeled) everywhere" in text for text in report.warnings)


def test_masks_with_classes_that_the_tags_lack_are_named(data: Path, corrections: Path) -> None:
    decide(corrections, Decision("a", "corrected"), Decision("c", "corrected"), mask=MASK)
    found = check_data(data, corrections=corrections)
    warning = "drawn or accepted masks show classes that the tags lack (photo 'a'"
    assert not found.errors and [text for text in found.warnings if warning in text]
    decide(corrections, Decision("a", "corrected", ("dog",)))
    decide(corrections, Decision("c", "good", (), ("cat",)))
    words = ["data", "check", data, "--corrections", corrections]
    printed = " ".join(invoke(*words).output.split())
    assert "that the tags lack (photo 'c'" in printed
    decide(corrections, Decision("c", "good"))
    found = check_data(data, corrections=corrections)
    assert not [text for text in found.warnings if "tags lack" in text]


def test_unknown_classes_are_refused(data: Path, corrections: Path) -> None:
    decide(corrections, Decision("a", None, ("dogg",)))
    found = check_data(data, corrections=corrections)
    assert "adds the tag 'dogg', which is no class; did you mean 'dog'?" in found.errors[0]
    decide(corrections, Decision("a", None, (), ("catt",)))
    found = check_data(data, corrections=corrections)
    removed = "removes the tag 'catt', which is no class; did you mean 'cat'?"
    assert not found.errors and any(removed in text for text in found.warnings)
    (corrections / "classes.json").write_text('{"names": ["dog", "cat"]}')
    with pytest.raises(DataError, match="of the classes dog, cat, the data has cat, dog"):
        check_data(data, corrections=corrections)


def test_the_command_prints_the_decisions(data: Path, corrections: Path) -> None:
    decide(corrections, Decision("a", "bad"), Decision("b", "bad"), Decision("c", "unsure"))
    done = invoke("data", "check", data, "--corrections", corrections)
    assert "corrections: 2 bad, 1 unsure" in done.output
    assert invoke("data", "check", data, "--corrections", data).exit_code == 1
