"""Lines of decisions: the last one of a photo counts, damage is named, a cut-off end ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tag2mask.data.corrections.decisions import Decision, decision_line, read_decisions
from tag2mask.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


def test_decisions_are_read_as_written(path: Path) -> None:
    first = Decision("a/1", "bad", origin="review", time="2026-01-02T03:04:05+00:00")
    last = Decision("a/1", None, ("cat", "dög"), ("bird",), looked_at="f" * 64)
    other = Decision("b", "corrected", origin="import", mask="0123456789abcdef" * 4)
    path.write_bytes(b"".join(map(decision_line, (first, other, last))))
    assert read_decisions(path) == {"a/1": last, "b": other}


def test_a_decision_by_hand_needs_photo_and_verdict_alone(path: Path) -> None:
    path.write_text('{"photo": "a", "verdict": "good"}\n\n{"photo": "b", "tags_added": ["cat"]}')
    assert read_decisions(path) == {
        "a": Decision("a", "good"),
        "b": Decision("b", tags_added=("cat",)),
    }


def test_no_file_is_no_decision(path: Path) -> None:
    assert read_decisions(path) == {}


def test_a_line_that_was_cut_off_at_the_end_was_never_confirmed(path: Path) -> None:
    line = decision_line(Decision("b", "good"))
    for length in range(len(line) - 1):
        path.write_bytes(decision_line(Decision("a", "bad")) + line[:length])
        assert list(read_decisions(path)) == ["a"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[]", "line 2 is not a decision"),
        ("{}", "line 2"),
        ('{"photo": "a", "verdict": "great"}', "the verdict is 'great'"),
        ('{"photo": "../a", "verdict": "good"}', "no id"),
        ('{"photo": "a", "tags_added": "cat"}', "a list of class names"),
        ('{"photo": "a", "tags_added": [1]}', "class names"),
        ('{"photo": "a", "tags_removed": {"cat": 1}}', "a list of class names"),
        ('{"photo": "a", "tags_added": ["x"], "tags_removed": ["x"]}', "both added and removed"),
        ('{"photo": "a", "origin": "mail"}', "the origin is 'mail'"),
        ('{"photo": "a", "mask": "../../a"}', "the mask is '../../a', not a sha256"),
        ('{"photo": "a", "ver', "line 2 is not a decision"),
    ],
)
def test_damaged_lines_are_named(path: Path, line: str, why: str) -> None:
    path.write_text(f'{{"photo": "x", "verdict": "good"}}\n{line}\n')
    with pytest.raises(DataError, match=why):
        read_decisions(path)
