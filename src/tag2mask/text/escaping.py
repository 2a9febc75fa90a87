"""One function for each place where names from files are shown: terminal, Markdown, LaTeX.

Names of classes, photos, recipes and rows may contain anything: control characters that rewrite a
terminal's lines, marks that change the writing direction, a program's own markup. All text that is
shown goes through one of these functions; HTML is escaped by Jinja, which calls `visible`.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of writing
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # line ends, invisible marks
    "\ud800-\udfff]"  # bytes of file names that are not UTF-8
)
_MARKDOWN = re.compile(r"[\\`*\[\]<|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text for a terminal: what can't be seen becomes an escape.

    Args:
        text: any text.
        lines: line ends are kept; False: it is one line.

    Example:
        >>> visible("x\x1b[2J\u202e")
        'x\\x1b[2J\\u202e'
    """
    kept = "\n" if lines else ""
    return _HIDDEN.sub(lambda found: found[0] if found[0] == kept else _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class Markdown(str):
    """A text that is Markdown already, which `markdown_text` leaves as it is."""

    __slots__ = ()


def markdown_text(text: str) -> Markdown:
    r"""Return a text as Markdown that shows it as it is, in a line or a table's cell.

    It must not begin a line, where ``#``, ``-`` or a number have a meaning.

    >>> print(markdown_text("<b> a|b *c* d_e"))
    \<b> a\|b \*c\* d_e
    """
    if isinstance(text, Markdown):
        return text
    return Markdown(_MARKDOWN.sub(lambda found: f"\\{found[0]}", visible(text)))


def markdown_code(text: str) -> Markdown:
    """Return a short text as Markdown's code."""
    return Markdown(f"`{visible(text)}`") if "`" not in text else markdown_text(text)


def markdown_block(text: str, language: str = "") -> Markdown:
    """Return lines as a block of code, whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}{language}\n{visible(text, lines=True).rstrip()}\n{fence}")


def latex_text(text: str) -> str:
    """Return a text in which no character has a meaning for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in visible(text))
