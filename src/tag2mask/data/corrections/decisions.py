"""Decisions about photos, one JSON line each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tag2mask.artifacts.items import checked_id
from tag2mask.classes import UNPRINTABLE
from tag2mask.errors import DataError
from tag2mask.files.os_errors import readable_os_errors
from tag2mask.files.regular_file import read_regular
from tag2mask.text.json_text import parse_json

DECISIONS = "decisions.jsonl"

Verdict = Literal["good", "bad", "corrected", "unsure"]
"""good: the mask is accepted; bad: left out of the training of the segmentation network; corrected:
the mask was drawn; unsure: looked at, nothing follows."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Origin = Literal["review", "import", "hand"]
"""Where a decision was made: the review page, ``masks import --drawn``, or a file by hand."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Decision:
    """Everything that a person said about one photo; it replaces earlier decisions of the photo.

    Attributes:
        photo: id of the photo.
        verdict: about its mask; None: nothing is said, or a verdict was taken back.
        tags_added: class names that the data's tags lack, sorted.
        tags_removed: class names that are wrong among the data's tags, sorted.
        origin: where it was made.
        looked_at: sha256 (hex) of the run's mask that the verdict is about; empty: not recorded.
        time: UTC, ISO 8601; empty: unknown.
        mask: sha256 (hex) of the file of its mask; empty: not recorded, or it has none.
    """

    photo: str
    verdict: Verdict | None = None
    tags_added: tuple[str, ...] = ()
    tags_removed: tuple[str, ...] = ()
    origin: Origin = "hand"
    looked_at: str = ""
    time: str = ""
    mask: str = ""

    def __post_init__(self) -> None:
        checked_id(self.photo)
        both = set(self.tags_added) & set(self.tags_removed)
        if both:
            raise ValueError(f"the tag {min(both)!r} is both added and removed")
        if self.mask and not _SHA256.fullmatch(self.mask):
            raise ValueError(f"the mask is {self.mask!r}, not a sha256")


def decision_line(decision: Decision) -> bytes:
    """Return a decision as a line of ``decisions.jsonl``."""
    values: dict[str, Any] = {"photo": decision.photo, "verdict": decision.verdict}
    if decision.tags_added:
        values["tags_added"] = decision.tags_added
    if decision.tags_removed:
        values["tags_removed"] = decision.tags_removed
    values["origin"] = decision.origin
    if decision.looked_at:
        values["looked_at"] = decision.looked_at
    values["time"] = decision.time
    if decision.mask:
        values["mask"] = decision.mask
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def read_decisions(path: Path) -> dict[str, Decision]:
    """Read the last decision of each photo, in the order of the photos' first decisions.

    A last line without its end was never confirmed to anybody and is ignored.

    Args:
        path: a ``decisions.jsonl``; a missing one holds no decision.

    Raises:
        DataError: a line isn't a decision.
        RunFolderError: a pipe or a device, or no permission to read it.
    """
    found: dict[str, Decision] = {}
    if not path.exists():
        return found
    with readable_os_errors(path):
        content = read_regular(path)
    for decision in _decisions(content, path):
        found[decision.photo] = decision
    return found


def complete_length(content: bytes) -> int:
    """Return the length of a file's complete lines; what follows was cut off while written."""
    end = content.rfind(b"\n") + 1
    try:
        parse_json(content[end:])
    except ValueError:
        return end
    return len(content)


def _decisions(content: bytes, path: Path) -> Iterator[Decision]:
    lines = content[: complete_length(content)].split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _decision(parse_json(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            why = f": {error}" if type(error) is ValueError and error.args else ""
            raise DataError(
                f"line {number} is not a decision{why}",
                where=path,
                fix='Correct it to a line such as {"photo": "a/001", "verdict": "good"} with a '
                f"verdict of {', '.join(VERDICTS)} or null, or delete it.",
            ) from None


def _decision(row: Any) -> Decision:
    verdict, origin = row.get("verdict"), row.get("origin", "hand")
    if verdict is not None and verdict not in VERDICTS:
        raise ValueError(f"the verdict is {verdict!r}")
    if origin not in get_args(Origin):
        raise ValueError(f"the origin is {origin!r}")
    return Decision(
        photo=row["photo"],
        verdict=verdict,
        tags_added=_names(row.get("tags_added", [])),
        tags_removed=_names(row.get("tags_removed", [])),
        origin=origin,
        looked_at=str(row.get("looked_at", "")),
        time=str(row.get("time", "")),
        mask=str(row.get("mask", "")),
    )


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError("tags are a list of class names")
    names = tuple(sorted(set(values)))
    if any(not isinstance(name, str) or UNPRINTABLE.search(name) for name in names):
        raise ValueError("tags are class names")
    return names
