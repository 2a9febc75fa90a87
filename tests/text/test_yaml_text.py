"""YAML: plain types, and limits on what a few bytes may stand for."""

from __future__ import annotations

import time

import pytest
import yaml

from tag2mask.text.yaml_text import MOST_CHARACTERS, MOST_DEPTH, parse_yaml


def bomb(levels: int) -> str:
    lists = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lists += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lists)


@pytest.mark.parametrize(
    "text",
    ["", "a: 1", "[1, 2.5, true, null, x]", "a: {b: [c]}", "a: &x [1]\nb: *x", "0o17", "1e3"],
)
def test_plain_yaml_is_that_of_pyyaml(text: str) -> None:
    assert parse_yaml(text) == yaml.safe_load(text)


def test_dates_are_text() -> None:
    assert parse_yaml("name: 2026-02-28") == {"name": "2026-02-28"}
    assert parse_yaml("name: 2026-02-30") == {"name": "2026-02-30"}


def test_aliases_may_repeat_a_little() -> None:
    assert len(parse_yaml(bomb(3))["a2"]) == 10
    for text in (bomb(8), bomb(300), "a: &a [*a]", "&a {b: {c: *a}}"):
        begun = time.perf_counter()
        with pytest.raises(ValueError, match="stands for more than 20,000 values") as caught:
            parse_yaml(text)
        assert time.perf_counter() - begun < 5
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("opening", ["[", "- ", "? ", "{a: "])
def test_depth(opening: str) -> None:
    for depth in (MOST_DEPTH + 1, 900, 20_000):
        with pytest.raises(ValueError, match=r"nested too deeply|too deep"):
            parse_yaml(opening * depth)
    assert parse_yaml("[" * (MOST_DEPTH - 1) + "]" * (MOST_DEPTH - 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "duplicate key 'a'"),
        ("a: 0x_", "'0x_' is not a valid int"),
        ("a: !!int b", "'b' is not a valid int"),
        ("a: " + "9" * 5000, "more characters .* is not a valid int"),
        ("? [a]\n: b", "unhashable key"),
        ("a: *b", "undefined alias"),
        ("a: \x00", "special characters are not allowed"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
        ("a: !!binary x$", "failed to decode base64"),
        ("x" * (MOST_CHARACTERS + 1), "1,000,001 characters is too long"),
        ("*" + "x" * 5000, "undefined alias"),
    ],
)
def test_mistakes_are_one_short_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
