"""Sphinx directive ``commands``: the reference of the command line, read from the Typer app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tag2mask.cli.app import app


class Commands(SphinxDirective):
    """One section per command, sorted by the groups of ``--help``."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        text = "\n".join(reference(typer.main.get_command(app)))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def reference(root: Any) -> Iterator[str]:
    """Yield the lines of all commands in Markdown."""
    panels: dict[str, list[tuple[str, Any]]] = {}
    for name, command in root.commands.items():
        if not command.hidden:
            panel = getattr(command, "rich_help_panel", None)
            title = panel if isinstance(panel, str) else "Commands"
            panels.setdefault(title, []).append((f"tag2mask {name}", command))
    for title, commands in panels.items():
        yield f"## {title}\n"
        for name, command in commands:
            for word, single in getattr(command, "commands", {"": command}).items():
                yield from described(single, f"{name} {word}".strip())


def described(command: Any, name: str) -> Iterator[str]:
    """Yield the lines of one command in Markdown."""
    parameters = [parameter for parameter in command.params if not getattr(parameter, "hidden", 0)]
    required = " ".join(usage(parameter) for parameter in parameters if parameter.required)
    yield f"### {name}\n"
    yield f"{(command.help or '').strip()}\n"
    yield f"```text\n{name} {required} [OPTIONS]\n```\n".replace("  ", " ")
    if parameters:
        yield "| option | default | description |\n|---|---|---|"
        yield from map(row, parameters)
        yield ""


def usage(parameter: Any) -> str:
    """Return how a required parameter is written on the command line."""
    if parameter.param_type_name == "argument":
        return placeholder(parameter)
    return f"{parameter.opts[0]} {placeholder(parameter)}"


def placeholder(parameter: Any) -> str:
    """Return the word that is printed in place of a parameter's value."""
    return str(parameter.metavar or parameter.name.upper().replace("_", "-"))


def flag(parameter: Any) -> bool:
    """Return whether a parameter is an option without a value."""
    return bool(getattr(parameter, "is_flag", False))


def row(parameter: Any) -> str:
    """Return a parameter's row of the table."""
    argument = parameter.param_type_name == "argument"
    name = placeholder(parameter) if argument else ", ".join(parameter.opts)
    if parameter.required:
        default = "required"
    elif flag(parameter) or parameter.default is None:
        default = ""
    else:
        default = f"`{getattr(parameter.default, 'value', parameter.default)}`"
    text = " ".join((parameter.help or "").split()).replace("|", "\\|")
    return f"| `{name}` | {default} | {text} |"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
