"""Names in the tables and messages of the command line have no effect on the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tag2mask.artifacts.identity import FolderStatus
from tag2mask.cli.console import print_message, print_text
from tag2mask.cli.tables import show_data, show_recipes, show_status
from tag2mask.data.checks.data_folder import check_data
from tag2mask.errors import DataError, ProblemsError
from tag2mask.pipeline.status import StepStatus
from tag2mask.text.escaping import visible

NASTY = "[red]a[/b] \x1b[2J\x9b5m\u202e:smile:"
SHOWN = r"[red]a[/b] \x1b[2J\x9b5m\u202e:smile:"


def test_status(capsys: pytest.CaptureFixture[str]) -> None:
    show_status([StepStatus(NASTY, FolderStatus("stale", (NASTY + "\nb",), ("[/b]", NASTY)))])
    shown = capsys.readouterr().out
    assert shown.count(r"\x1b[2J\x9b5m\u202e") >= 2 and "[/b]" in shown
    assert not set("\x1b\x9b\u202e") & set(shown)


def test_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    show_recipes({"x": NASTY})
    assert SHOWN in capsys.readouterr().out


def test_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "b\x1b[2J\n0 errors\u202e.png")
    table = "image,tags,split\nimages/0.png,[red]c\x9b5m,train\nimages/1.png,[/b],[bold]\n"
    (tmp_path / "tags.csv").write_text(table, encoding="utf-8")
    show_data(check_data(tmp_path))
    shown = capsys.readouterr()
    assert r"[red]c\x9b5m" in shown.out
    cells = [
        [part.strip() for part in re.split("[│|]", line)[1:3]] for line in shown.out.splitlines()
    ]
    names = check_data(tmp_path).class_names
    for number, name in enumerate(names, 1):
        assert [visible(name), str(number)] in cells
    assert "0 is the background, 255 is ignored" in shown.out
    assert r"b\x1b[2J\n0 errors\u202e.png" in shown.err
    assert not set("\x1b\x9b\u202e") & set(shown.out + shown.err)
    assert "\n0 errors\\u" not in shown.err


def test_messages(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("a\r\x1b[1mb\nc")
    print_text("d\udcff\u2066")
    shown = capsys.readouterr()
    assert shown.err == "a\\r\\x1b[1mb\nc\n"
    assert shown.out == "d\\udcff\\u2066\n"


def test_errors_are_one_short_line() -> None:
    error = DataError("what\n\x1b", where="a\nb", fix="c\u202e")
    assert str(error) == r"what\n\x1b [a\nb]. c\u202e"
    assert len(str(DataError("x" * 10**6, where="y" * 10**6, fix="z" * 10**6))) < 15_000
    several = str(ProblemsError("title", ["a\nb", "x" * 10**6]))
    assert several.splitlines()[1] == r"  - a\nb"
    assert len(several) < 3000
