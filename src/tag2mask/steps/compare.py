"""Command ``compare``: one page about how runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tag2mask.errors import RunFolderError
from tag2mask.files.atomic import write_text
from tag2mask.report.page import Page, render
from tag2mask.report.run_folder import open_runs
from tag2mask.report.sections.comparison import comparison_sections
from tag2mask.report.sections.scored_runs import scored_runs
from tag2mask.version import __version__


def compare(runs: Sequence[Path], page: Path, photos: int) -> Path:
    """Write a page that compares the first run with the others, and return its path.

    Args:
        runs: at least two run folders.
        page: the HTML file to write; an older one is replaced.
        photos: number of photos to show.

    Raises:
        RunFolderError: fewer than two runs, a run given twice, no run folder, a damaged file in
            one, or ``page`` is a folder or can't be written.
    """
    places = [run.resolve() for run in runs]
    if len(places) < 2 or len(set(places)) < len(places):
        raise RunFolderError(
            "fewer than two different runs to compare",
            where=", ".join(map(str, runs)),
            fix="Give two or more run folders, each once.",
        )
    if page.is_dir() or page.suffix != ".html":
        raise RunFolderError(
            "the page is not an .html file",
            where=page,
            fix="Give a file, as in --out compare.html.",
        )
    opened = open_runs(runs)
    labels = [run.label for run in opened]
    sections = comparison_sections(opened, scored_runs(opened), photos)
    subtitle = f"compared with {', '.join(labels[1:])}"
    write_text(page, render(Page(labels[0], subtitle, sections, footer=f"tag2mask {__version__}")))
    return page
