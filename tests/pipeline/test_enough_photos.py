"""The line about classes with few training photos."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from tag2mask.cli.app import app
from tag2mask.pipeline.enough_photos import ENOUGH_WITH, ENOUGH_WITHOUT, few_photos

TOTAL = ENOUGH_WITH + ENOUGH_WITHOUT


def test_nothing_is_said_where_all_classes_have_enough() -> None:
    assert few_photos({"a": ENOUGH_WITH, "b": ENOUGH_WITH}, TOTAL) == ""
    assert few_photos({}, 5) == ""
    assert few_photos({"a": 0}, 0) == ""


def test_both_kinds_are_named_the_fewest_first() -> None:
    line = few_photos({"a": TOTAL - 3, "b": ENOUGH_WITH - 1, "c": ENOUGH_WITH}, TOTAL)
    assert line.startswith(
        f"photos: few for 2 of 3 classes: a (3 without it), b ({ENOUGH_WITH - 1} with it); "
    )


def test_a_class_that_is_on_every_photo_counts_once() -> None:
    line = few_photos({"a": 4}, 4)
    assert line.startswith("photos: few for 1 of 1 class: a (0 without it), a (4 with it); ")


def test_data_check_prints_it(tmp_path: Path) -> None:
    for number, name in enumerate(["cat", "cat", "dog"]):
        (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "train" / name / f"{number}.png")
    found = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    line = next(one for one in found.output.splitlines() if one.startswith("photos: few"))
    assert "dog (1 with it), cat (1 without it), cat (2 with it), dog (2 without it)" in line
