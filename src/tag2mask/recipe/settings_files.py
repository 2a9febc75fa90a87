"""Settings in YAML files: those that the package brings, by name, and files of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from tag2mask.errors import RecipeError, nearest_hint
from tag2mask.text.yaml_text import MOST_CHARACTERS, parse_yaml


def shipped_settings(package: str, folder: str) -> dict[str, str]:
    """Return the texts of the YAML files in a folder of a package, by name."""
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted((resources.files(package) / folder).iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".yaml")
    }


def find_settings(
    name_or_file: str | Path, shipped: Mapping[str, str], kind: str
) -> tuple[str, str]:
    """Return the text of shipped settings or of a YAML file, and where it is from, for messages.

    Args:
        name_or_file: the name of shipped settings or the path of a file.
        shipped: texts by name, from `shipped_settings`.
        kind: what the settings are: ``recipe``.

    Raises:
        RecipeError: no such settings (with the nearest name), or an unreadable file.
    """
    name, path = str(name_or_file), Path(name_or_file)
    if name in shipped:
        return shipped[name], f"{kind} {name}"
    if path.is_file():
        return read_settings(path), str(path)
    raise RecipeError(
        f"no {kind} {name!r}{nearest_hint(name, shipped)}",
        fix=f"Give a YAML file or one of: {', '.join(shipped)}.",
    )


def parse_settings(text: str, where: str, kind: str) -> dict[str, Any]:
    """Return the mapping in a YAML text; an empty text is an empty mapping.

    Args:
        text: the YAML.
        where: the file, for error messages.
        kind: what it must be, for error messages.

    Raises:
        RecipeError: not YAML, over a limit of `parse_yaml`, or no mapping.
    """
    try:
        values = parse_yaml(text)
    except ValueError as error:
        raise RecipeError(f"not valid YAML: {error}", where=where) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise RecipeError(kind, where=where)
    return values


def read_settings(path: Path) -> str:
    """Return the text of a YAML file.

    Raises:
        RecipeError: unreadable, too long for settings, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(4 * MOST_CHARACTERS + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError("not UTF-8 text", where=path, fix="Give a YAML file.") from None
    except OSError as error:
        raise RecipeError(
            f"can't be read: {error.strerror}", where=path, fix="Check its permissions."
        ) from None
    return text
