"""The errors a user can cause: each says what happened, where, and how to fix it.

The command line prints ``str(error)`` on one line and exits with 1; nothing here imports torch.
Bugs of this package are assertions, never one of these.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tag2mask.text.escaping import visible
from tag2mask.text.excerpt import shortened

_LONGEST_TEXT, _LONGEST_LINE = 4000, 1000
"""Characters of a part of a message, and of one of many problems."""
_LONGEST_NAME = 100
"""Characters of a name that may be a misspelled one; comparing longer ones takes long."""


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, or an empty string."""
    if len(name) > _LONGEST_NAME:
        return ""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


class Tag2MaskError(Exception):
    """An error that the user can fix.

    Args:
        what: what is wrong, naming the offending value.
        where: the file, folder, key or option that holds it.
        fix: what to do about it.
    """

    def __init__(
        self, what: str, *, where: str | Path | None = None, fix: str | None = None
    ) -> None:
        self.what = what
        self.where = where
        self.fix = fix
        message = shortened(visible(what), _LONGEST_TEXT).rstrip(".")
        if where is not None:
            message += f" [{shortened(visible(str(where)), _LONGEST_TEXT)}]"
        if fix is not None:
            message += f"{'' if message.endswith('?') else '.'} "
            message += shortened(visible(fix), _LONGEST_TEXT)
        super().__init__(message)

    def replace_path(self, path: Path, by: Path) -> None:
        """Name another path: a temporary name is gone when the message is read."""
        old, new = str(path), str(by)
        self.what = self.what.replace(old, new)
        if self.where is not None and old in str(self.where):
            self.where = type(self.where)(str(self.where).replace(old, new))
        if self.fix is not None:
            self.fix = self.fix.replace(old, new)
        self.args = tuple(arg.replace(visible(old), visible(new)) for arg in self.args)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[Tag2MaskError], args: tuple[Any, ...], state: dict[str, Any]
) -> Tag2MaskError:
    """Rebuild an error from another process."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class DataError(Tag2MaskError):
    """An unusable data folder, photo, tag table or mask."""


class RecipeError(Tag2MaskError):
    """A recipe with an unknown key or an impossible value."""


class RunFolderError(Tag2MaskError):
    """A run folder made by another recipe, incomplete, or not writable."""


class FolderInUseError(RunFolderError):
    """A folder that another process is working in."""


class MissingFileError(RunFolderError):
    """A missing file of a run folder."""


class DataChangedError(RunFolderError):
    """A run folder made from another state of the data."""


class WeightsError(Tag2MaskError):
    """Weights or a checkpoint that can't be read, or that belong to another network."""


class PartError(Tag2MaskError):
    """A part of the user's own that can't be used, or whose import nobody agreed to."""


class DeviceError(Tag2MaskError):
    """A device that is missing or too small."""


class NodesError(Tag2MaskError):
    """Processes of several machines that can't work together."""


class PackageError(Tag2MaskError):
    """A missing optional package."""


class StorageError(Tag2MaskError):
    """A storage of photos that can't be reached in time, or that denies access."""


class ExportError(Tag2MaskError):
    """A network that can't be exported, or whose export computes something different."""


class ProblemsError(DataError):
    """Many problems found in one pass, raised once.

    Attributes:
        problems: one line each.
    """

    def __init__(
        self,
        title: str,
        problems: Sequence[str],
        *,
        where: str | Path | None = None,
        fix: str | None = None,
    ) -> None:
        self.problems = tuple(problems)
        shown = "".join(
            f"\n  - {shortened(visible(problem), _LONGEST_LINE)}" for problem in self.problems[:50]
        )
        if len(self.problems) > 50:
            shown += f"\n  - ... and {len(self.problems) - 50} more"
        super().__init__(title, where=where, fix=fix)
        self.args = (f"{self}{shown}",)


@contextmanager
def in_section(section: str) -> Iterator[None]:
    """Add the section of a recipe to errors: several sections have keys of the same name."""
    try:
        yield
    except (RecipeError, WeightsError) as error:
        raise type(error)(f"{section}: {error.what}", where=error.where, fix=error.fix) from None


def or_skipped(error: Tag2MaskError) -> Tag2MaskError:
    """Return a photo's error with the advice to leave the photo out."""
    fix = (error.fix or "Replace it.").rstrip(".")
    return type(error)(
        error.what, where=error.where, fix=f"{fix}, or leave it out with --skip-bad."
    )


def counted(number: int, one: str, several: str) -> str:
    """Return a number with the words that follow it: ``1 photo is``, ``2 photos are``."""
    return f"{number} {one if number == 1 else several}"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of another library says; its type if it says nothing.

    Such messages have many lines, with a trace of the library's own code.
    """
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def first_few(names: Iterable[str], count: int = 5) -> str:
    """Return the first few names, and how many more there are."""
    iterator = iter(names)
    shown = list(islice(iterator, count))
    more = sum(1 for _ in iterator)
    return ", ".join(shown) + (f" and {more} more" if more else "")
