"""Reading and writing of the project's own JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tag2mask.errors import MissingFileError, RunFolderError
from tag2mask.files.atomic import write_text
from tag2mask.files.os_errors import reading_fix
from tag2mask.files.regular_file import read_regular
from tag2mask.text.json_text import parse_json


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinity become null (see ``atomic_write``)."""
    write_text(path, json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        MissingFileError: missing.
        RunFolderError: unreadable or not JSON.
    """
    try:
        return parse_json(read_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(
            f"{path.name} is missing",
            where=path.parent,
            fix="Run the step that writes this folder again.",
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"can't be read ({error.strerror})", where=path, fix=reading_fix(error)
        ) from None
    except ValueError:
        raise RunFolderError(
            "not valid JSON", where=path, fix="Delete its folder and run the step again."
        ) from None


def _finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, since JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
