"""Planted faults: one small change of one function each, which the tests must notice."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tag2mask"
_PARSING = Lock()
"""Held while Python parses: up to 3.11 two threads that parse at once may end in a SystemError."""


class NotApplicableError(Exception):
    """The fault no longer fits the code: its symbol or its text is gone."""


@dataclass(frozen=True)
class Fault:
    """A change that makes a result wrong.

    Attributes:
        symbol: function, class, method or constant, from the package on:
            ``crf.mean_field_update.STRIP``.
        wrong: what is wrong with the result.
        old: text that occurs once in the symbol's source.
        new: text in its place.
        tests: tests that mirror the symbol and must fail, from ``tests/`` on.
    """

    symbol: str
    wrong: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def package(self) -> str:
        """The package that the symbol is in."""
        return self.symbol.partition(".")[0]

    @property
    def name(self) -> str:
        """Symbol and what is wrong, for the output."""
        return f"{self.symbol}: {self.wrong}"

    def file(self, package: Path) -> Path:
        """Return the module's file in a folder of the package."""
        return package.joinpath(*self._split(package)[0]).with_suffix(".py")

    def applied(self, package: Path = SOURCE) -> str:
        """Return the source of the module with the fault.

        Raises:
            NotApplicableError: the text doesn't occur exactly once in the symbol.
        """
        module, names = self._split(package)
        source = package.joinpath(*module).with_suffix(".py").read_text(encoding="utf-8")
        begin, end = _extent(source, names, self.symbol)
        found = source[begin:end].count(self.old)
        if found != 1:
            raise NotApplicableError(f"{self.symbol} has {self.old!r} {found} times")
        changed = source[:begin] + source[begin:end].replace(self.old, self.new) + source[end:]
        try:
            _parsed(changed)
        except SyntaxError as error:
            raise NotApplicableError(f"{self.symbol} with {self.new!r}: {error}") from None
        return changed

    def _split(self, package: Path) -> tuple[list[str], list[str]]:
        """Split the symbol into the module's path and the names inside of it."""
        parts = self.symbol.split(".")
        for count in range(len(parts) - 1, 0, -1):
            if package.joinpath(*parts[:count]).with_suffix(".py").is_file():
                return parts[:count], parts[count:]
        raise NotApplicableError(f"no module for {self.symbol}")


def _parsed(source: str) -> ast.Module:
    with _PARSING:
        return ast.parse(source)


def _extent(source: str, names: list[str], symbol: str) -> tuple[int, int]:
    """Return where a symbol's source begins and ends, decorators included."""
    node: ast.AST = _parsed(source)
    for name in names:
        node = _child(node, name, symbol)
    assert isinstance(node, ast.stmt)
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(one.lineno for one in decorators)])
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts[first - 1], starts[node.end_lineno or first]


def _child(node: ast.AST, name: str, symbol: str) -> ast.stmt:
    for child in getattr(node, "body", []):
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and child.name == name:
            return child
        targets = child.targets if isinstance(child, ast.Assign) else [getattr(child, "target", 0)]
        if name in [target.id for target in targets if isinstance(target, ast.Name)]:
            assert isinstance(child, ast.stmt)
            return child
    raise NotApplicableError(f"no {name!r} in {symbol}")
