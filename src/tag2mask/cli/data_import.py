"""Command ``tag2mask data import``: a table and a folder of photos become a data folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from tag2mask.cli.options import Out

_TagColumns = Annotated[
    str | None,
    typer.Option(
        "--tag-columns", metavar="A,B", help="Columns of x, 0 and 1 or counts, one per class."
    ),
]
_NoTag = Annotated[
    str | None,
    typer.Option(
        "--no-tag", metavar="TEXT,TEXT", help="Texts that mean no tag, besides OK, none, - and n/a."
    ),
]
_Rename = Annotated[
    list[str] | None,
    typer.Option("--rename", metavar="OLD=NEW", help="Another name for a tag; repeatable."),
]


def data_import(
    tables: Annotated[
        list[Path], typer.Argument(help="Excel workbook or CSV file; several.", metavar="TABLE...")
    ],
    photos: Annotated[Path, typer.Option("--photos", help="Folder of the photos.")],
    out: Out,
    photo_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column that names the photos or parts.")
    ] = None,
    tags_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column of tags.")] = None,
    tag_columns: _TagColumns = None,
    separator: Annotated[
        str | None, typer.Option(metavar="CHARACTER", help="Between several tags in a cell.")
    ] = None,
    no_tag: _NoTag = None,
    rename: _Rename = None,
    sheet: Annotated[str | None, typer.Option(metavar="NAME", help="Sheet of a workbook.")] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Encoding of a CSV file, such as cp1252.")
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", metavar="", help="Copy the photos instead of linking to them.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", metavar="", help="Change the tags and classes of an earlier import."),
    ] = False,
) -> None:
    """Make a data folder of tables of parts and their photos, or extend it."""
    from tag2mask.cli.console import print_message, print_text, show_understood
    from tag2mask.data.table_import.options import ImportOptions
    from tag2mask.data.table_import.plan import plan_imports
    from tag2mask.data.table_import.summary import import_summary
    from tag2mask.data.table_import.write import write_imports
    from tag2mask.errors import counted

    options = ImportOptions(
        photo_column,
        tags_column,
        tuple(_listed(tag_columns)),
        separator,
        tuple(_listed(no_tag)),
        dict(map(_renamed, rename or ())),
        sheet,
        encoding,
    )
    plans = plan_imports(tables, photos, out, options)
    for plan in plans:
        show_understood(import_summary(plan))
        for message in plan.warnings:
            print_message(f"warning: {message}", lines=False)
    if any(plan.needs_consent for plan in plans) and not yes:
        _ask(out)
    copied = write_imports(plans, copy=copy)
    files = {name for plan in plans for name in plan.files}
    linked = counted(len(files), "photo", "photos") + (
        f" ({copied} copied)" if copied else " (links)"
    )
    check = shlex.join(["tag2mask", "data", "check", str(out)])
    print_text(f"written: {out}: {linked}; check it: {check}", lines=False)


def _listed(text: str | None) -> list[str]:
    """Return the texts between commas."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _renamed(text: str) -> tuple[str, str]:
    """Return the old and the new name of a tag.

    Raises:
        typer.BadParameter: one of them is missing.
    """
    old, mark, new = (part.strip() for part in text.partition("="))
    if not (old and mark and new):
        raise typer.BadParameter(f"{text!r} is not OLD=NEW", param_hint="--rename")
    return old, new


def _ask(out: Path) -> None:
    """Ask on a terminal whether an earlier import may be changed.

    Raises:
        DataError: it may not, or there is no terminal.
    """
    from tag2mask.errors import DataError

    if sys.stdin.isatty() and typer.confirm("Change the earlier import?"):
        return
    raise DataError(
        "nothing was written: tags or classes of an earlier import or table would change",
        where=out,
        fix="Give --yes, or another --out.",
    )
