"""Step ``report``: one self-contained HTML page about a run, alone or compared with others.

Reads the complete steps and writes ``index.html``. The page is cheap and holds no data of its own,
so it is written again whenever anything it shows has changed, other settings included. The sections
come from ``tag2mask.report.sections``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tag2mask.artifacts.deletion import remove_step_folder
from tag2mask.artifacts.handles import Handle, PreparedData, ReportPage
from tag2mask.artifacts.identity import identity_of
from tag2mask.artifacts.manifest import Manifest, read_identity
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import data_root, read_classes, read_index
from tag2mask.data.splits import SPLITS
from tag2mask.files.atomic import write_text
from tag2mask.recipe.sections import Report
from tag2mask.report.page import Page, render
from tag2mask.report.run_folder import RunFolder, open_runs
from tag2mask.report.sections.areas import area_section
from tag2mask.report.sections.classes import class_section, confusion_section, tag_section
from tag2mask.report.sections.comparison import comparison_sections
from tag2mask.report.sections.contact_sheets import sheet_section
from tag2mask.report.sections.corrections import random_looks_section
from tag2mask.report.sections.doubtful_tags import doubt_section
from tag2mask.report.sections.next_steps import next_steps_section
from tag2mask.report.sections.photo_rates import rates_section
from tag2mask.report.sections.photos import label_section, photo_section
from tag2mask.report.sections.runs import recipe_section, timing_section, training_section
from tag2mask.report.sections.scored_runs import scored_runs
from tag2mask.report.sections.scores import curve_section, numbers_section
from tag2mask.report.sections.stages import stage_section
from tag2mask.version import __version__

PAGE = "index.html"


def report(run: Path, section: Report, out: Path, compare: Sequence[Path] = ()) -> ReportPage:
    """Write the page of a run.

    Args:
        run: the run folder; steps that are missing or unfinished are left out.
        section: settings.
        out: folder to write.
        compare: other run folders, compared with the first.

    Raises:
        RunFolderError: no run folder, a damaged file in one, or ``out`` can't be written.
    """
    runs = open_runs([run, *compare])
    inputs = _inputs(runs)
    wanted = identity_of(ReportPage, out, section, inputs, {})
    found = read_identity(out)
    current = isinstance(found, Manifest) and found.fingerprint == wanted.fingerprint
    if current and (out / PAGE).is_file():
        return ReportPage.open(out)
    html = render(_page(runs, section))
    if found is not None and found.identity != wanted.identity:
        remove_step_folder(ReportPage, out)
    with step_folder(ReportPage, out, section=section, inputs=inputs) as step:
        write_text(step.path / PAGE, html)
        return step.finish(counts={"runs": len(runs)}, metrics={"bytes": len(html.encode())})


def _inputs(runs: Sequence[RunFolder]) -> dict[str, Handle | str]:
    """Return the fingerprints of everything that the page shows."""
    inputs: dict[str, Handle | str] = {"tag2mask": __version__}
    for number, run in enumerate(runs):
        of = f" of {run.label}" if number else ""
        inputs |= {f"{handle.step}{of}": handle for handle in run.handles()}
        inputs |= {f"{name}{of}": stamp for name, stamp in run.stamps().items()}
    return inputs


def _page(runs: Sequence[RunFolder], section: Report) -> Page:
    scored = scored_runs(runs)
    main = runs[0]
    prepared = main.handle(PreparedData)
    sections = (
        numbers_section(scored),
        random_looks_section(main),
        next_steps_section(main, scored[0]),
        *comparison_sections(runs, scored, section.photos),
        stage_section(scored),
        curve_section(scored),
        class_section(scored),
        area_section(main, scored[0]),
        photo_section(runs, section.photos),
        sheet_section(main, scored[0]),
        label_section(main),
        confusion_section(scored),
        rates_section(scored[0]),
        tag_section(scored),
        doubt_section(main, scored[0], section.photos),
        training_section(runs),
        timing_section(runs),
        recipe_section(runs, data_root(prepared.path) if prepared is not None else None),
    )
    dates = [manifest.started[:10] for manifest in main.manifests.values()]
    made = f" Steps made from {min(dates)} to {max(dates)} (UTC)." if dates else ""
    return Page(
        f"{section.title}: {main.label}",
        _subtitle(main),
        sections,
        footer=f"tag2mask {__version__}.{made}",
    )


def _subtitle(run: RunFolder) -> str:
    parts = []
    prepared = run.handle(PreparedData)
    if prepared is not None:
        classes = read_classes(prepared.path)
        counts = {split: len(read_index(prepared.path, split)) for split in SPLITS}
        parts.append(
            f"{counts['train']:,} training and {counts['val']:,} validation photos, "
            f"{len(classes)} class{'es' if len(classes) > 1 else ''}"
        )
    if run.unfinished:
        parts.append(f"not complete: {', '.join(run.unfinished)}")
    return " · ".join(parts)
