"""Read photo after photo; what can't be read is raised at the end, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tag2mask.errors import DataError, ProblemsError, counted
from tag2mask.formats.annotations import AnnotatedPhoto

_Item = TypeVar("_Item")


def each_photo(
    items: Iterable[_Item], read: Callable[[_Item], AnnotatedPhoto | None], where: Path
) -> Iterator[AnnotatedPhoto]:
    """Yield what ``read`` returns of each item; None is left out.

    Raises:
        ProblemsError: after the last photo, with the `DataError` of each that can't be read.
    """
    problems: list[str] = []
    for item in items:
        try:
            photo = read(item)
        except DataError as error:
            problems.append(str(error))
            continue
        if photo is not None:
            yield photo
    if problems:
        raise ProblemsError(
            f"{counted(len(problems), 'photo', 'photos')} with annotations that can't be read",
            problems,
            where=where,
            fix="Correct or remove them:",
        )
