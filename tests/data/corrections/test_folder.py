"""A folder of corrections: what counts, its fingerprints, its copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import (
    NO_CORRECTIONS,
    Corrections,
    copy_corrections,
    corrections_of,
    read_corrections,
)
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.errors import DataError

CLASSES = ClassSet(("cat", "dog"))


def mask(value: int) -> np.ndarray:
    return np.full((3, 4), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_corrections(tmp_path / "corrections", CLASSES) as writer:
        writer.write(Decision("a/drawn", "corrected", origin="review"), mask(1))
        writer.write(Decision("imported", "corrected", origin="import"), mask(2))
        writer.write(Decision("accepted", "good"), mask(0))
        writer.write(Decision("accepted-by-hand", "good"))
        writer.write(Decision("poor", "bad"))
        writer.write(Decision("doubtful", "unsure"))
        writer.write(Decision("was-drawn", "corrected"), mask(1))
        writer.write(Decision("was-drawn", "unsure"))
    return tmp_path / "corrections"


def test_only_drawn_and_accepted_masks_count(folder: Path) -> None:
    found = read_corrections(folder)
    assert set(found.masks()) == {"a/drawn", "imported", "accepted"}
    assert set(found.sure) == {"a/drawn", "imported", "accepted", "accepted-by-hand"}
    assert found.bad == ["poor"]
    assert found.class_names == CLASSES.names
    assert found.counts(["a/drawn", "imported", "accepted", "poor", "elsewhere"]) == {
        "drawn": 1,
        "imported": 1,
        "accepted": 1,
    }


def test_a_copy_is_equal_and_drops_what_no_longer_counts(folder: Path, tmp_path: Path) -> None:
    found, copy = read_corrections(folder), tmp_path / "prepare" / "corrections"
    copy_corrections(found, copy, CLASSES)
    copied = corrections_of(tmp_path / "prepare")
    assert copied.decisions == found.decisions
    assert copied.fingerprint() == found.fingerprint()
    assert not copied.mask_file("was-drawn").exists()
    with open_corrections(folder, CLASSES) as writer:
        writer.write(Decision("a/drawn", "bad"))
        copy_corrections(writer.corrections, copy, CLASSES)
    assert not copied.mask_file("a/drawn").exists()
    copy_corrections(corrections_of(tmp_path / "prepare"), copy, CLASSES)  # onto itself
    assert set(corrections_of(tmp_path / "prepare").masks()) == {"imported", "accepted"}


def test_the_fingerprint_of_labels_depends_on_masks_and_bad_photos_alone(folder: Path) -> None:
    with open_corrections(folder, CLASSES) as writer:
        before, all_before = fingerprints(writer.corrections)
        writer.write(Decision("doubtful", None, tags_added=("cat",)))
        labels, everything = fingerprints(writer.corrections)
        assert labels == before and everything != all_before
        writer.write(Decision("a/drawn", "corrected"), mask(2))
        redrawn = fingerprints(writer.corrections)[0]
        assert redrawn != before
        writer.write(Decision("doubtful", "bad"))
        assert fingerprints(writer.corrections)[0] != redrawn
    assert fingerprints(NO_CORRECTIONS) == ("", "")


def test_a_fingerprint_may_be_of_some_photos(folder: Path) -> None:
    with open_corrections(folder, CLASSES) as writer:
        before = writer.corrections.label_fingerprint({"a/drawn", "doubtful"})
        writer.write(Decision("poor", None))
        writer.write(Decision("imported", "corrected"), mask(1))
        assert writer.corrections.label_fingerprint({"a/drawn", "doubtful"}) == before != ""
        writer.write(Decision("a/drawn", "good"))
        assert writer.corrections.label_fingerprint({"a/drawn", "doubtful"}) != before
    assert writer.corrections.label_fingerprint(()) == ""


def fingerprints(corrections: Corrections) -> tuple[str, str]:
    return corrections.label_fingerprint(), corrections.fingerprint()


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder of corrections"):
        read_corrections(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"it has no decisions\.jsonl"):
        read_corrections(tmp_path)
    (tmp_path / "decisions.jsonl").touch()
    assert read_corrections(tmp_path).decisions == {}
    for damaged in ("[]", '{"names": [1, 2]}', '{"names": "ab"}', '{"names": {"a": 1}}', "{}", "x"):
        (tmp_path / "classes.json").write_text(damaged)
        with pytest.raises(DataError, match=r"classes\.json is damaged.*Write the class names"):
            read_corrections(tmp_path)
    assert corrections_of(tmp_path / "nowhere") is NO_CORRECTIONS


def test_files_that_an_editor_saved_with_a_byte_order_mark(tmp_path: Path) -> None:
    decision = '{"photo": "a", "verdict": "bad"}\n'
    (tmp_path / "decisions.jsonl").write_text(decision, encoding="utf-8-sig")
    (tmp_path / "classes.json").write_text('{"names": ["cat", "dog"]}', encoding="utf-8-sig")
    found = read_corrections(tmp_path)
    assert found.decisions == {"a": Decision("a", "bad")}
    assert found.class_names == ("cat", "dog")
