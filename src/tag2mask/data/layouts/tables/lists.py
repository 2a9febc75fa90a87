"""Lists in cells, as pandas and annotation tools write them: ``["cat", "dog"]``, ``['cat']``."""

from __future__ import annotations

import json
import re
from typing import Any

from tag2mask.formats.annotations import label_text

_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_QUOTED_ITEMS = re.compile(rf"(?:u?(?:{_QUOTED})(?:[,\s]+|$))*", re.DOTALL)
_CHOICES = "choices"
"""Label Studio's key of a photo's classes."""


def is_list(text: str) -> bool:
    """Return whether a cell holds a list: text in brackets; in round ones, of quoted names."""
    if _BRACKETS.get(text[:1]) != text[-1:]:
        return False
    return text[0] != "(" or text[1:2] in ("'", '"')


def names_of_list(text: str) -> list[str]:
    """Return the names in a list of JSON, Python (numpy's too) or PostgreSQL.

    Raises:
        ValueError: it holds something other than names.
    """
    try:
        return _names_of_json(json.loads(text))
    except (json.JSONDecodeError, RecursionError):
        pass
    inner = text[1:-1].strip()
    if not any(mark in inner for mark in "\"'[]{}()"):
        return [name for item in inner.split(",") if (name := item.strip())]
    if not _QUOTED_ITEMS.fullmatch(inner):
        raise ValueError("not a list of names")
    # Python would join the strings of numpy's ['cat' 'dog'].
    return [re.sub(r"\\(.)", r"\1", item[1:-1]).strip() for item in re.findall(_QUOTED, inner)]


def _names_of_json(value: Any) -> list[str]:
    """Return the names in a value of JSON.

    Raises:
        ValueError: it holds something other than names.
    """
    if isinstance(value, dict) and value.keys() == {_CHOICES}:
        choices = value[_CHOICES]
        value = choices if isinstance(choices, list) else [choices]
    if not isinstance(value, list) or any(isinstance(item, list | dict) for item in value):
        raise ValueError("not a list of names")
    return ["null" if item is None else label_text(item) for item in value if item != ""]
