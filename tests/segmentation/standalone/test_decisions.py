"""The tables of decisions: what the photos of a group show together, by their last lines."""

from __future__ import annotations

import csv
import re
import resource
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from watching import RULE

from tag2mask.segmentation.standalone import decisions, files

NAMES = ("red", "green", "blue")


def add(table: decisions.Decisions, photo: str, shown: int) -> None:
    """Add a photo that shows one class; 0: none."""
    labels = np.full((4, 6), shown, np.uint8)
    table.add(photo, "20260101T000000.000000Z", labels, np.full((4, 6), 250, np.uint8))


def test_the_table_of_earlier_lines_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Any] = []
    reader = csv.DictReader

    def read(*arguments: Any) -> Iterator[dict[str, str]]:
        reads.append(arguments)
        return iter(reader(*arguments))

    monkeypatch.setattr(decisions.csv, "DictReader", read)

    def begin() -> decisions.Decisions:
        return decisions.Decisions(tmp_path, NAMES, asdict(RULE))

    def groups() -> str:
        return (tmp_path / "group_decisions.csv").read_text()

    table = begin()
    rounds = [[("7_a", 1), ("8_a", 0)], [("7_b", 3)], [("7_a", 0), ("alone", 1)], []]
    for arrived in rounds:
        for photo, shown in arrived:
            add(table, photo, shown)
        table.write_groups()
    assert len(reads) == 1
    assert groups().split() == [
        "group,photos,decision",
        "7,2,blue",
        "8,1,none",
        "alone,1,red",
    ]
    in_memory = groups()
    with (tmp_path / "decisions.csv").open("a") as file:
        file.write("7_a,7,2026")  # cut off by a crash
    begin().write_groups()
    assert groups() == in_memory and len(reads) == 2


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name in ("decisions.csv", "items.jsonl"):
        (tmp_path / name).symlink_to(other)
    with pytest.raises(OSError, match=r"decisions\.csv"):
        add(decisions.Decisions(tmp_path, NAMES, asdict(RULE)), "a", 1)
    with pytest.raises(OSError, match=r"items\.jsonl"):
        files.Journal(tmp_path / "items.jsonl").record(files.Photo("a", tmp_path / "a", "1", ""))
    assert not other.exists()


def test_names_of_photos_groups_and_classes_are_no_formulas(tmp_path: Path) -> None:
    names = ("=HYPERLINK(1)", "-b", "c")
    least = {"area": 0, "confidence": 0.5}
    rule = {"group": "(.*)_[^_/]*", "temperature": 1, "classes": dict.fromkeys(names, least)}

    def begin() -> decisions.Decisions:
        return decisions.Decisions(tmp_path, names, rule)

    def cells(name: str) -> list[str]:
        lines = (tmp_path / name).read_text().splitlines()
        return [cell for line in lines for cell in re.split("[,;]", line)]

    half = np.repeat(np.array([[1, 2]], np.uint8), 4, axis=0)
    confidence = np.full(half.shape, 250, np.uint8)
    begin().add("=p_a", "20260101T000000.000000Z", half, confidence)
    table = begin()  # reads the line of the earlier call
    table.add("=p_b", "20260101T000000.000000Z", np.full_like(half, 3), confidence)
    table.add("'=p_b", "20260101T000000.000000Z", np.full_like(half, 3), confidence)
    for _ in range(2):
        table.write_groups()
        assert (tmp_path / "group_decisions.csv").read_text().split() == [
            "group,photos,decision",
            "''=p,1,c",
            "'=p,2,'-b;'=HYPERLINK(1);c",
        ]
        table = begin()
        table.add("=p_a", "20260101T000000.000000Z", half, confidence)
    for name in ("decisions.csv", "group_decisions.csv"):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells(name))


def test_a_line_that_was_cut_off_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "decisions.csv"

    def begin() -> decisions.Decisions:
        return decisions.Decisions(tmp_path, NAMES, asdict(RULE))

    def groups() -> list[str]:
        begin().write_groups()
        return (tmp_path / "group_decisions.csv").read_text().splitlines()[1:]

    add(begin(), "a,b_1", 1)
    whole = file.read_bytes()
    head = whole.index(b"\n") + 1
    for length in range(1, len(whole)):
        file.write_bytes(whole[:length])
        add(begin(), "a,b_1", 1)
        assert file.read_bytes() == whole, length
        assert ("removed a line" in capsys.readouterr().err) == (length != head)
    add(begin(), "a,b_1", 1)
    assert file.read_bytes().count(b"\n") == 3 and not capsys.readouterr().err
    file.write_bytes(whole + b'"c,d')
    assert groups() == ['"a,b",1,red'] and file.read_bytes() == whole
    assert "decisions.csv: removed a line that was cut off: '\"c,d'" in capsys.readouterr().err
    file.write_bytes(whole[:head] + b'"c,d\r\n' + whole[head:])  # as earlier versions left it
    assert groups() == ['"a,b",1,red'] and not capsys.readouterr().err


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    table = decisions.Decisions(tmp_path, NAMES, asdict(RULE))
    add(table, "7_a", 1)
    before = table.file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            add(table, "7_b", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert table.file.read_bytes() == before
    add(table, "7_b", 3)
    table.write_groups()
    assert "7,2,blue;red" in (tmp_path / "group_decisions.csv").read_text()
