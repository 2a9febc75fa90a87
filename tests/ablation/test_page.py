"""Page and plot of an ablation: all rows are shown, and names are escaped."""

from __future__ import annotations

import re
from pathlib import Path

from ablation_scores import cam_and_seam, split, trial
from PIL import Image

from tag2mask.ablation.page import ablation_page
from tag2mask.ablation.plot import draw_ablation
from tag2mask.ablation.records import AblationScores, TrialScores
from tag2mask.ablation.scores import OtherRow, row_scores
from tag2mask.ablation.text_tables import NO_OWN_MEASURE, markdown_report
from tag2mask.report.page import render

EVIL = '<script>document.title="evil"</script>'


def test_names_and_messages_are_escaped() -> None:
    html = render(ablation_page(cam_and_seam(name=EVIL, message=EVIL)))
    assert "<script" not in html and "&lt;script&gt;" in html


def test_page_has_rows_seeds_failures_and_commands() -> None:
    html = render(ablation_page(cam_and_seam(name="SEAM")))
    for text in (
        "41.0 ± 1.4",
        "+7.0",
        "segmenter, masks used",
        "Failed",
        "it &lt;broke&gt;",
        "tag2mask run --set train_cam.seed=0",
        "2 rows, seeds 0, 1: 3 done, 1 failed",
    ):
        assert text in html, text
    assert not re.search(r'(?:src|href)="(?!#|data:)', html), "the page loads no other file"


def test_split_without_own_measure_is_listed_under_every_measure() -> None:
    scored = trial(
        0,
        split("train", [("SEAM", 0.44, 0.45)], 0.44),
        split("val", [("SEAM", 0.40, 0.41), ("segmenter", 0.47, None)], 0.40),
    )
    row = row_scores("network", "lite0-cpu", (), "tags", "segmenter", [scored])
    html = render(ablation_page(AblationScores("0", "paper", "", "photos", (0,), (row,))))
    assert "val 10 photos" in html and "train, mIoU" not in html
    measures = html.partition("Every measure")[2]
    assert "44.0" in measures and "47.0" in measures


def test_every_measure_is_shown_without_any_own_measure() -> None:
    scored = trial(0, split("val", [("SEAM", 0.40, 0.41)], 0.40))
    row = row_scores("network", "lite0-cpu", (), "tags", "segmenter", [scored])
    scores = AblationScores("0", "paper", "", "photos", (0,), (row,))
    assert scores.splits == ()
    for text in (render(ablation_page(scores)), markdown_report(scores)):
        assert NO_OWN_MEASURE in text and "40.0" in text and "No row is done" not in text


def test_a_gain_within_the_spread_is_muted() -> None:
    def row(name: str, values: tuple[float, float], first=None):
        return row_scores(
            name,
            "tiny",
            (),
            "tags",
            "masks",
            [
                trial(seed, split("train", [("CAM", value, None)], value))
                for seed, value in enumerate(values)
            ],
            base=first,
        )

    cam = row("CAM", (0.40, 0.41))
    base = OtherRow(cam, {})
    rows = (cam, row("clear", (0.50, 0.51), base), row("unclear", (0.43, 0.40), base))
    html = render(ablation_page(AblationScores("0", "t", "", "photos", (0, 1), rows)))
    tones = {
        text: tone
        for tone, text in re.findall(
            r'<td class="[^"]*?(good|bad|muted)[^"]*"[^>]*>\s*(\+[\d.]+ ± [\d.]+)', html
        )
    }
    assert tones == {"+10.0 ± 0.0": "good", "+1.0 ± 2.8": "muted"}


def test_page_before_the_first_row_is_done() -> None:
    waiting = TrialScores(0, "waiting", "tag2mask run")
    row = row_scores("CAM", "tiny", (), "tags", "masks", [waiting], None)
    html = render(ablation_page(AblationScores("0", "t", "", "photos", (0,), (row,))))
    assert "No row is done yet." in html and "waiting" in html


def test_plot_is_a_png(tmp_path: Path) -> None:
    draw_ablation(tmp_path / "plot.png", cam_and_seam(name="a name of many letters " * 5))
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 900 and picture.height > 200
