"""Errors say what, where, and how to fix it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tag2mask import errors
from tag2mask.errors import DataError, ProblemsError, Tag2MaskError

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Tag2MaskError("no photo"), "no photo"),
        (Tag2MaskError("no photo."), "no photo"),
        (Tag2MaskError("no photo", where="tags.csv line 3"), "no photo [tags.csv line 3]"),
        (
            Tag2MaskError("no photo", where=Path("a/b.jpg"), fix="Add it."),
            f"no photo [{Path('a/b.jpg')}]. Add it.",
        ),
        (Tag2MaskError("no photo", fix="Add it."), "no photo. Add it."),
        (
            Tag2MaskError("no dgo; did you mean 'dog'?", fix="Add it."),
            "no dgo; did you mean 'dog'? Add it.",
        ),
    ],
)
def test_message(error: Tag2MaskError, message: str) -> None:
    assert str(error) == message


@pytest.mark.parametrize(
    ("text", "line"), [("no GPU\n  at x.cpp", "no GPU"), ("\nno GPU", "no GPU"), ("", "OSError")]
)
def test_first_line_of_another_error(text: str, line: str) -> None:
    assert errors.first_line(OSError(text)) == line


def test_parts_stay_readable() -> None:
    error = DataError("no photo", where="here", fix="Add it.")
    assert (error.what, error.where, error.fix) == ("no photo", "here", "Add it.")


def test_every_error_has_the_base_class() -> None:
    found = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
    ]
    assert len(found) >= 6
    assert all(issubclass(value, Tag2MaskError) for value in found)


def test_problems_are_listed_all_at_once() -> None:
    error = ProblemsError("3 problems", ["a is bad", "b is bad", "c is bad"], where="data")
    assert error.problems == ("a is bad", "b is bad", "c is bad")
    assert str(error) == "3 problems [data]\n  - a is bad\n  - b is bad\n  - c is bad"


def test_many_problems_are_cut_with_their_number() -> None:
    error = ProblemsError("many", [f"photo {i}" for i in range(173)])
    assert "photo 49\n" in str(error)
    assert "photo 50" not in str(error)
    assert str(error).endswith("... and 123 more")
    assert len(error.problems) == 173


@pytest.mark.parametrize(
    "error",
    [DataError("no photo", where="here", fix="Add it."), ProblemsError("bad", ["a", "b"])],
)
def test_errors_pass_between_processes(error: Tag2MaskError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_numbers_with_words() -> None:
    shown = [errors.counted(number, "photo is", "photos are") for number in (0, 1, 2)]
    assert shown == ["0 photos are", "1 photo is", "2 photos are"]


def test_another_path_is_named_everywhere() -> None:
    error = DataError("no room for /tmp/new/a", where="/tmp/new/a", fix="Delete /tmp/new/a.")
    error.replace_path(Path("/tmp/new"), Path("/data/out"))
    assert str(error) == "no room for /data/out/a [/data/out/a]. Delete /data/out/a."
    assert (error.what, error.where) == ("no room for /data/out/a", "/data/out/a")
    assert error.fix == "Delete /data/out/a."
    remote = DataError("gone", where="s3://bucket/a")
    remote.replace_path(Path("/tmp/new"), Path("/data/out"))
    assert remote.where == "s3://bucket/a"
