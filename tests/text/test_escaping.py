"""Names from files in terminals, Markdown and LaTeX: shown as they are, without any effect."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.text.escaping import (
    Markdown,
    latex_text,
    markdown_block,
    markdown_code,
    markdown_text,
    visible,
)

ESCAPED = re.compile(
    r"\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}"
    r"|\\text(?:less|greater|bar)\{\}|\\[&%$#_{}]|\$-\$|\$\\pm\$"
)
ATTACKS = (
    "x\x1b]0;new title\x07\x1b[2K\r0 errors, 0 warnings\n\x1b[8m",
    "c\x9b5mblink",
    "safe\u202egpj.exe",
    "a\u2066b\u2028c",
    "name\udcff",
    "\U000e0041tag",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_hidden_reaches_a_terminal(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert shown.encode("utf-8")
    assert eval(f"'{shown}'") == text


def test_visible_text_stays() -> None:
    for text in ("Tür · ± – “quoted” 日本語 \N{PILE OF POO}", "مرحبا", "क्‍ष", "[red]a[/red] :+1:"):
        assert visible(text) == text
    assert visible("a\nb", lines=True) == "a\nb"
    assert visible("a\nb\tc") == "a\\nb\\tc"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("traffic light", "traffic light"),
        ("min_pool", "min_pool"),
        ("_a_", r"\_a\_"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)>"),
        (r"a\|b", r"a\\\|b"),
        ("a|b", r"a\|b"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("**a** `b` ~~c~~ $d$", r"\*\*a\*\* \`b\` \~\~c\~\~ \$d\$"),
        ("&lt; & co", r"\&lt; & co"),
        ("x</h1>\n\n## Metrics", r"x\</h1>\\n\\n## Metrics"),
    ],
)
def test_markdown(text: str, expected: str) -> None:
    assert markdown_text(text) == expected
    assert markdown_text(markdown_text(text)) == expected
    # A backslash before a mark is not shown: the text is what was given.
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", expected) == visible(text)


def test_markdown_code() -> None:
    assert markdown_code("model.onnx") == "`model.onnx`"
    assert markdown_code("a`b") == "a\\`b"
    assert markdown_block("a: 1\n") == "```\na: 1\n```"
    assert markdown_block("```\n# head\x1b", "yaml") == "````yaml\n```\n# head\\x1b\n````"
    assert markdown_text(Markdown("`a|b`")) == "`a|b`"


@given(st.text(alphabet=st.sampled_from("ab\\&%$#_{}~^–−±<>| "), max_size=20))
def test_latex_special_characters_are_escaped(name: str) -> None:
    left = ESCAPED.sub("", latex_text(name))
    assert not re.search(r"[\\&%$#_{}~^–−±<>|]", left)


def test_latex() -> None:
    assert latex_text(r"50 % & a_b \input{x} $1$ ~^") == (
        r"50 \% \& a\_b \textbackslash{}input\{x\} \$1\$ \textasciitilde{}\textasciicircum{}"
    )
    assert latex_text("a\nb") == r"a\textbackslash{}nb"
