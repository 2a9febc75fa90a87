"""How the settings and inputs of a step folder differ from those of now, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tag2mask.artifacts.handles import section_name
from tag2mask.artifacts.manifest import Identity, Input
from tag2mask.artifacts.module_source import source_inputs
from tag2mask.artifacts.section_values import (
    deciding_values,
    flat_values,
    own_modules,
    plain_values,
)
from tag2mask.errors import RunFolderError


def check_key_names(found: Identity, section: BaseModel | Mapping[str, Any], folder: Path) -> None:
    """Check that a folder's settings have the current names.

    Raises:
        RunFolderError: naming the keys of an earlier version and what they are called now.
    """
    renamed: Mapping[str, str] = getattr(type(section), "renamed_keys", {})
    prefix = section_name(found.step)
    names = _renamed(found.section, plain_values(section), renamed, f"{prefix}.")
    if names:
        raise RunFolderError(
            f"{found.step} was written by an earlier version of tag2mask: "
            + ", ".join(f"{old} is now called {new}" for old, new in names),
            where=folder,
            fix="Give another --out, or delete the folder.",
        )


def _renamed(
    values: Mapping[str, Any], current: Mapping[str, Any], renamed: Mapping[str, str], prefix: str
) -> list[tuple[str, str]]:
    """Return the dotted old and new names of renamed keys."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        new = renamed.get(key)
        inner = current.get(key)
        if key not in current and new in current:
            found.append((f"{prefix}{key}", f"{prefix}{new}"))
        elif isinstance(value, Mapping) and isinstance(inner, Mapping):
            found += _renamed(value, inner, renamed, f"{prefix}{key}.")
    return found


def section_differences(
    found: Identity, values: Mapping[str, Any], section: BaseModel | Mapping[str, Any]
) -> list[str]:
    """Return the settings that differ from those that a folder was made with, one text each."""
    old = flat_values(deciding_values(found.section, section))
    new = flat_values(deciding_values(values, section))
    prefix = section_name(found.step)
    return [
        f"{prefix}.{key}: {_value_text(old, key)} -> {_value_text(new, key)}"
        for key in sorted({*old, *new})
        if _value_text(old, key) != _value_text(new, key)
    ]


def source_differences(found: Identity, section: BaseModel) -> Iterator[str]:
    """Yield the classes of the user's own whose sources have changed since."""
    modules = own_modules(section)
    for key, source in source_inputs(modules, found).items():
        known = found.inputs.get(key)
        if known is not None and known.fingerprint != source:
            prefix = section_name(found.step)
            yield f"{prefix}.{key}: the source of {modules[key]} has changed"


def input_differences(found: Identity, wanted: Identity) -> Iterator[str]:
    """Yield the inputs that differ."""
    for name in sorted({*found.inputs, *wanted.inputs}):
        old, new = found.inputs.get(name), wanted.inputs.get(name)
        old_text, new_text = _fingerprint_text(old), _fingerprint_text(new)
        if old_text != new_text:
            yield f"input {name}: {old_text} -> {new_text}"


def _value_text(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "(absent)"


def _fingerprint_text(record: Input | None) -> str:
    return "(absent)" if record is None else short_fingerprint(record.fingerprint)


def short_fingerprint(fingerprint: str) -> str:
    """Return a fingerprint for messages."""
    return fingerprint if len(fingerprint) <= 24 else f"{fingerprint[:8]}.."
