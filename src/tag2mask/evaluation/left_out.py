"""The photos that an evaluation leaves out, such as those on which settings were chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from tag2mask.data.layouts.splits import read_id_list
from tag2mask.errors import DataError, RecipeError, first_few


def check_left_out_file(file: str) -> None:
    """Check that the file in ``evaluate.leave_out`` exists.

    Raises:
        RecipeError: it doesn't.
    """
    if not Path(file).is_file():
        raise RecipeError(
            f"no list of ids {file!r}",
            where="evaluate.leave_out",
            fix="Give a text file with one id per line, or null.",
        )


def left_out_ids(file: str, known: Callable[[], Collection[str]]) -> frozenset[str]:
    """Read ``evaluate.leave_out``.

    Args:
        file: a text file with one id per line.
        known: returns the ids of the data.

    Raises:
        RecipeError: no such file.
        DataError: it can't be read, or has ids that the data doesn't have.
    """
    check_left_out_file(file)
    path = Path(file)
    listed, problems = read_id_list(path)
    if problems:
        raise DataError(problems[0].message, where=path, fix="Give one id per line.")
    ids = set(known())
    unknown = [photo.id for photo in listed if photo.id not in ids]
    if unknown:
        raise DataError(
            f"photos not in the data: {first_few(unknown)}",
            where=path,
            fix="Set evaluate.leave_out to a list of this data's ids.",
        )
    return frozenset(photo.id for photo in listed)
