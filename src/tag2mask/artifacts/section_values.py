"""The values of a section of the recipe that decide what a step writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel


def plain_values(section: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """Return a section's values as plain types of JSON."""
    values = section.model_dump(mode="json") if isinstance(section, BaseModel) else dict(section)
    # Through JSON, so that a tuple equals the list in a manifest.
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def flat_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings of nested sections by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_values(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def own_modules(section: BaseModel | Mapping[str, Any]) -> dict[str, str]:
    """Return the classes of the user's own that a section names, by key."""
    own: Callable[[], dict[str, str]] = getattr(section, "modules", dict)
    return own()


def deciding_values(
    values: Mapping[str, Any], section: BaseModel | Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values that decide a step's result.

    Left out are the section's ``not_identity`` keys, and its ``added_keys`` and ``removed_keys``
    with the value that means what is done without the key.
    """
    free: frozenset[str] = getattr(type(section), "not_identity", frozenset())
    without: dict[str, Any] = {
        **getattr(type(section), "added_keys", {}),
        **getattr(type(section), "removed_keys", {}),
    }

    def decides(key: str, value: Any) -> bool:
        return key not in free and not (key in without and value == without[key])

    return _selected(values, decides, "")


def _selected(
    values: Mapping[str, Any], decides: Callable[[str, Any], bool], prefix: str
) -> dict[str, Any]:
    """Return the values for which ``decides(dotted key, value)`` holds, of inner sections too.

    An inner section of which nothing is left is left out itself.
    """
    selected = {}
    for key, value in values.items():
        if decides(prefix + key, value):
            inner = isinstance(value, Mapping) and bool(value)
            kept = _selected(value, decides, f"{prefix}{key}.") if inner else value
            if kept or not inner:
                selected[key] = kept
    return selected
