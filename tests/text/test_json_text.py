"""JSON: what the standard library reads, within limits."""

from __future__ import annotations

import json

import pytest

from tag2mask.text.json_text import MOST_DEPTH, parse_json


@pytest.mark.parametrize("value", [None, 1, -(2**63), 2**64, 1.5, 1e300, "é", [], {"a": [{}]}])
def test_json_is_read(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse_json(text) == value
    assert parse_json(text.encode()) == value
    assert parse_json("\ufeff" + text) == parse_json(text.encode("utf-8-sig")) == value


@pytest.mark.parametrize("depth", [MOST_DEPTH + 1, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth(depth: int, opening: str, closing: str) -> None:
    inner = "1" if opening != "[" else ""
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(opening * depth + inner + closing * depth)
    assert parse_json(opening * MOST_DEPTH + inner + closing * MOST_DEPTH)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting"),
        ("9" * 26, "an integer of 26 characters"),
        ("9" * 5000, "an integer of 5000 characters"),
        ("[1e999]", "too large"),
        ("[-1e999]", "too large"),
        ("NaN", "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        (b"\xff", "utf-8"),
        ("\ufeff\ufeff1", "Expecting|BOM"),
    ],
)
def test_what_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)
