"""The page that compares runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import discs
from test_report import Parsed, finished, photographed

from small_runs import invoke
from tag2mask.errors import RunFolderError
from tag2mask.files.atomic import write_text
from tag2mask.files.json_file import read_json, write_json
from tag2mask.recipe.loading import dump_recipe, load_recipe
from tag2mask.recipe.sections import Report
from tag2mask.report.sections.comparison import differing_settings
from tag2mask.steps.compare import compare
from tag2mask.steps.report import report


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return finished(photographed(discs(tmp_path / "run")))


@pytest.fixture
def other(run: Path, tmp_path: Path) -> Path:
    """A copy of the run with other settings, and other masks of two photos."""
    copy = tmp_path / "other"
    shutil.copytree(run, copy)
    for folder, name, steps in ((run, "first", 16), (copy, "second", 32)):
        recipe = load_recipe("lite0-cpu", [f"name={name}", f"walk.steps={steps}"])
        write_text(folder / "recipe.yaml", dump_recipe(recipe))
    rows = [json.loads(line) for line in (copy / "evaluate" / "photos.jsonl").open()]
    changed = [row for row in rows if row["miou"] is not None and row["map_tags"]][:2]
    for row, change in zip(changed, (0.1, 0.25), strict=True):
        row["miou"] -= change
        path = copy / "pseudo-masks" / "masks" / f"{row['id']}.png"
        mask = Image.open(path)
        pixels = np.array(mask)
        pixels[: round(len(pixels) * change)] = 1 - (pixels[: round(len(pixels) * change)] > 0)
        turned = Image.fromarray(pixels)
        turned.putpalette(mask.getpalette() or [])
        turned.save(path)
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (copy / "evaluate" / "photos.jsonl").write_text(lines)
    return copy


def section(html: str, anchor: str) -> str:
    """Return a section of a page as text."""
    part = html.split(f'<section id="{anchor}"', 1)[1].split("</section>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", part).replace("\N{NO-BREAK SPACE}", " ").split())


ANCHORS = ("settings-that-differ", "compared-scores", "changed-photos")


def test_a_page_shows_settings_scores_and_changed_photos(
    run: Path, other: Path, tmp_path: Path
) -> None:
    page = tmp_path / "compare.html"
    done = invoke("compare", run, other, "--out", page, "--photos", "2")
    assert done.exit_code == 0 and str(page) in done.stdout, done.output
    html = page.read_text(encoding="utf-8")
    parsed = Parsed(html)
    assert all(link.startswith(("data:", "#")) for link in parsed.references)
    assert "walk.steps 16 32" in section(html, ANCHORS[0])
    assert "train_cam" not in section(html, ANCHORS[0])
    scores = section(html, ANCHORS[1])
    for split in read_json(run / "evaluate" / "evaluation.json")["splits"]:
        assert f"first {split['split']} {100 * split['masks']['miou']:.1f}" in scores
    assert re.search(r"second train [\d.]+ \([\d.–]+\) 0\.0 \(0\.0 to 0\.0\)", scores)
    photos = section(html, ANCHORS[2])
    assert re.findall(r"differs by ([\d.]+) %", photos) == ["25.0", "10.0"]
    before = page.read_bytes()
    compare([run, other], page, 2)
    assert page.read_bytes() == before


def test_the_report_shows_the_same_sections(run: Path, other: Path, tmp_path: Path) -> None:
    page = compare([run, other], tmp_path / "compare.html", 3).read_text(encoding="utf-8")
    made = report(run, Report(photos=3), run / "report", [other]).path / "index.html"
    html = made.read_text(encoding="utf-8")
    assert all(section(html, anchor) == section(page, anchor) for anchor in ANCHORS)
    alone = report(run, Report(photos=3), run / "report").path / "index.html"
    assert not any(f'id="{anchor}"' in alone.read_text(encoding="utf-8") for anchor in ANCHORS)


def test_without_ground_truth_the_masks_are_compared(
    run: Path, other: Path, tmp_path: Path
) -> None:
    for folder in (run, other):
        path = folder / "evaluate" / "photos.jsonl"
        rows = [json.loads(line) | {"miou": None} for line in path.open()]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        scores = read_json(folder / "evaluate" / "evaluation.json")
        for split in scores["splits"]:
            split |= {"masks": None, "curve": None, "stages": []}
        write_json(folder / "evaluate" / "evaluation.json", scores)
    html = compare([run, other], tmp_path / "compare.html", 6).read_text(encoding="utf-8")
    assert "No two of these runs were scored" in section(html, ANCHORS[1])
    assert section(html, ANCHORS[2]).count("differs by") == 2


def test_history_compares_the_photos_of_both_weeks(run: Path, other: Path, tmp_path: Path) -> None:
    html = compare([run, other], tmp_path / "same.html", 2).read_text(encoding="utf-8")
    assert 'id="history"' not in html, "the photos are the same"
    path = other / "evaluate" / "photos.jsonl"
    rows = [json.loads(line) for line in path.open()]
    kept = [row for row in rows if row["split"] != "train"]
    kept += [row for row in rows if row["split"] == "train" and row["counts"]][1:]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
    html = compare([run, other], tmp_path / "compare.html", 2).read_text(encoding="utf-8")
    history = section(html, "history")
    assert f"{len(kept)} photos are in all runs, {len(rows) - len(kept)} only in first." in history
    common = [row for row in kept if row["split"] == "train"]
    assert f"of all runs train first {len(common)}" in history
    assert f"of all runs train second {len(common)}" in history
    new = len([row for row in rows if row["split"] == "train"]) - len(common)
    assert f"only here train first {new}" in history
    # The counts are the same: on the same photos, so are the scores.
    first, second = (
        re.search(rf"of all runs train {name} \d+ \S+ \S+ ([\d.]+)", history)
        for name in ("first", "second")
    )
    assert first is not None and second is not None and first[1] == second[1]
    assert "+0.0" not in history and "0.0 (0.0 to 0.0)" in history


def test_equal_runs_differ_in_nothing(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    html = compare([run, copy], tmp_path / "compare.html", 6).read_text(encoding="utf-8")
    assert "the same settings" in section(html, ANCHORS[0])
    assert "No photo changed" in section(html, ANCHORS[2])


def test_wrong_runs_and_pages_are_named(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "compare.html"
    for runs in ([run], [run, run / "."]):
        with pytest.raises(RunFolderError, match="fewer than two different runs"):
            compare(runs, page, 6)
    with pytest.raises(RunFolderError, match="no run folder"):
        compare([run, tmp_path / "nowhere"], page, 6)
    for wrong in (tmp_path, tmp_path / "compare.txt"):
        with pytest.raises(RunFolderError, match=r"not an \.html file"):
            compare([run, tmp_path], wrong, 6)
    assert not page.exists()


def test_settings_are_compared_by_their_values() -> None:
    one = "name: a\nwalk: {steps: 16, beta: 8.0}\n"
    two = "name: b\nwalk: {steps: 16, beta: 4.0, alpha: null}\n"
    assert differing_settings([one, two]) == {
        "walk.beta": ("8.0", "4.0"),
        "walk.alpha": ("–", "null"),
    }
    assert differing_settings([one, "a: ["]) == {
        "walk.steps": ("16", "–"),
        "walk.beta": ("8.0", "–"),
    }
