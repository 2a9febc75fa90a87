"""The page about a run: scores and photos shown, incomplete runs, and no references outside."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import NAMES, OneRank, Scene, discs

from tag2mask.artifacts.handles import (
    WITHOUT_SURE_PIXELS,
    WITHOUT_TAGGED_PIXELS,
    AffinityModel,
    CamModel,
    ReportPage,
)
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import RunFolderError
from tag2mask.files.atomic import write_text
from tag2mask.files.json_file import read_json, write_json
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.recipe.sections import Evaluate, Report
from tag2mask.steps.evaluate import evaluate
from tag2mask.steps.pseudo_masks import pseudo_masks
from tag2mask.steps.report import report


class Parsed(HTMLParser):
    """Text, images and references of a page; unclosed tags are an error."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append(tag)
        self.references += [v or "" for k, v in attributes if k in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())

    def count(self, tag: str) -> int:
        return self.tags.count(tag)


def photographed(scene: Scene) -> Scene:
    """Write the scene's photos."""
    rng = np.random.default_rng(1)
    for samples in scene.samples.values():
        for sample in samples:
            sample.image.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255, (*sample.size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(sample.image)
    return scene


def finished(scene: Scene) -> Path:
    """Make masks and evaluation of a scene; its folder is the run folder."""
    rank = OneRank()
    section = PseudoMasks(threshold_from="fixed", background_threshold=0.4)
    run = scene.root
    masks = pseudo_masks(scene.data, scene.maps, section, run / "pseudo-masks", rank)
    evaluate(scene.data, scene.maps, masks, Evaluate(), run / "evaluate", rank)
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all steps except training; tests must not change it."""
    return finished(photographed(discs(tmp_path_factory.mktemp("made"))))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run with its own photos."""
    copy = tmp_path / "run"
    shutil.copytree(made, copy)
    source = read_json(copy / "prepare" / "source.json")
    write_json(copy / "prepare" / "source.json", source | {"root": str(copy / "photos")})
    return copy


def page(run: Path, **options) -> Parsed:
    handle = report(run, Report(photos=2), run / "report", **options)
    return Parsed((handle.path / "index.html").read_text(encoding="utf-8"))


def class_heats(shown: Parsed) -> int:
    """Return how many maps of single classes a page shows."""
    return sum(shown.text.count(f"heat: {name} ") for name in NAMES)


def part(run: Path, section: str) -> str:
    """Return the HTML of a section."""
    html = (run / "report" / "index.html").read_text(encoding="utf-8")
    return html.split(f'<section id="{section}">')[1].split("</section>")[0]


def photo_images(run: Path) -> int:
    """Return how many pictures the section about photos shows."""
    return part(run, "photos").count("<img")


def test_numbers_are_those_of_the_evaluation(run: Path) -> None:
    shown = page(run).text
    for split in read_json(run / "evaluate" / "evaluation.json")["splits"]:
        assert f"{100 * split['masks']['miou']:.1f} %" in shown
        assert f"{100 * split['curve']['best_miou']:.1f} %" in shown
        assert f"{100 * split['tags']['mean_average_precision']:.1f} %" in shown
        basis = (
            f"{split['split']}, {split['masks']['photos']} photos, known tags, "
            "background threshold 0.4 (fixed)"
        )
        assert basis in shown
    for name in NAMES:
        assert name in shown


def test_the_page_refers_to_no_other_file(run: Path) -> None:
    html = (report(run, Report(), run / "report").path / "index.html").read_text(encoding="utf-8")
    parsed = Parsed(html)
    assert all(r.startswith(("data:", "#")) for r in parsed.references)
    assert parsed.count("script") == 0
    assert "@import" not in html
    assert not re.search(r"url\((?!data:)", html)
    assert "http" not in re.sub(r"data:[^\"]*", "", html)
    anchors = {r[1:] for r in parsed.references if r.startswith("#")}
    assert anchors and all(f'id="{anchor}"' in html for anchor in anchors)


def test_best_middle_and_worst_photos_are_shown(run: Path) -> None:
    shown = page(run)
    lines = (run / "evaluate" / "photos.jsonl").read_text().splitlines()
    masked = [row for row in map(json.loads, lines) if row["miou"] is not None]
    rows = sorted((row for row in masked if row["map_tags"]), key=lambda row: -row["miou"])
    without = [row["id"] for row in masked if not row["map_tags"]]
    assert without and not any(name in shown.text for name in without), "correct by construction"
    best, rest = shown.text.split("Best", 1)[1].split("Middle", 1)
    worst = rest.split("Worst", 1)[1].split("Confusions", 1)[0]
    assert rows[0]["id"] in best and rows[-1]["id"] in worst
    assert photo_images(run) == 6 * 4 + class_heats(shown), "photo, truth, heat, mask"


def test_photos_of_several_classes_show_the_map_of_each(run: Path) -> None:
    report(run, Report(photos=50), run / "report")
    html = part(run, "photos")
    lines = (run / "evaluate" / "photos.jsonl").read_text().splitlines()
    tags = {row["id"]: row["map_tags"] for row in map(json.loads, lines)}
    several = 0
    for article in re.findall(r'<article class="photo".*?</article>', html, re.DOTALL):
        photo = re.findall(r'<span class="id">(.*?)</span>', article)[0]
        heats = re.findall(r"<figcaption>heat: (.*?)</figcaption>", article)
        own = [name for name in heats if name in NAMES]
        assert own == (tags[photo] if len(tags[photo]) > 1 else [])
        several += bool(own)
    assert several


def test_the_area_of_each_class_is_that_of_masks_and_truth(run: Path) -> None:
    page(run)
    split = read_json(run / "evaluate" / "evaluation.json")["splits"][0]["split"]
    rows = [json.loads(line) for line in (run / "evaluate" / "photos.jsonl").open()]
    pseudo, truth = [], []
    for row in rows:
        if row["split"] == split and NAMES[0] in row["tags"]:
            with Image.open(run / "pseudo-masks" / "masks" / f"{row['id']}.png") as image:
                pseudo.append(float((np.asarray(image) == 1).mean()))
            mask = run / "photos" / f"{row['id']}.png"
            if row["miou"] is not None:
                with Image.open(mask) as image:
                    labels = np.asarray(image)
                truth.append(float((labels == 1).sum() / (labels != 255).sum()))
    first = part(run, "areas").split("</table>")[0]
    cells = re.findall(r'<span class="figure">(.*?)</span>', first)
    assert cells[0].startswith(f"{100 * np.median(pseudo):.1f} ("), "float32 in between"
    assert cells[1].startswith(f"{100 * np.median(truth):.1f} (")


def test_a_contact_sheet_of_each_class(run: Path) -> None:
    page(run)
    section = part(run, "contact-sheets")
    rows = [json.loads(line) for line in (run / "evaluate" / "photos.jsonl").open()]
    sheets = re.findall(r'<article class="photo">.*?</article>', section, re.DOTALL)
    assert len(sheets) == len(NAMES)
    for sheet, name in zip(sheets, NAMES, strict=True):
        assert f'<span class="id">{name}</span>' in sheet
        shown = re.findall(r"<figcaption>(\w+): (.*?)</figcaption>", sheet)
        own = {(row["split"], row["id"]): row["quality"] for row in rows if name in row["tags"]}
        assert set(shown) == set(own) and len(shown) <= 12
        qualities = [own[place] for place in shown]
        assert qualities == sorted(qualities)


def test_doubtful_tags_are_shown_with_their_photos(run: Path) -> None:
    path = run / "evaluate" / "evaluation.json"
    scores = read_json(path)
    sample, other = (
        json.loads(line) for line in (run / "prepare/train.jsonl").open().readlines()[:2]
    )
    doubt = {"tag": NAMES[0], "kind": "missing", "probability": 0.97, "margin": 0.4}
    doubts = [
        doubt | {"photo": sample["id"]},
        doubt | {"photo": sample["id"], "tag": NAMES[1], "kind": "wrong", "probability": 0.02},
        doubt | {"photo": other["id"]},
        *(doubt | {"photo": f"gone/{i}"} for i in range(60)),
    ]
    scores["splits"][0]["doubtful_tags"] = doubts
    write_json(path, scores)
    report(run, Report(photos=1), run / "report")
    section = part(run, "doubtful-tags")
    assert re.findall(r'<span class="id">(.*?)</span>', section) == [sample["id"]]
    score = re.findall(r'<span class="score">(.*?)</span>', section)[0].replace("\xa0", " ")
    assert score == (
        f"train: {NAMES[0]} missing? (probability 97 %), {NAMES[1]} wrong? (probability 2 %)"
    )
    assert "pseudo mask" in section and section.count("<tr>") == 1 + 12 + 1 + 38
    assert "13 more are in doubtful_tags.csv" in section


def test_a_photo_is_never_shown_under_two_headings(run: Path) -> None:
    handle = report(run, Report(photos=50), run / "report")
    html = (handle.path / "index.html").read_text(encoding="utf-8")
    ids = re.findall(r'<span class="id">(.*?)</span>', part(run, "photos"))
    assert html and len(ids) == len(set(ids)) == 9, "ten with a mask, one of them without a class"


def test_without_masks_the_highest_and_lowest_quality_is_shown(scene: Scene) -> None:
    scene.masked = set()
    scene.write()
    shown = page(finished(photographed(scene)))
    assert "No photo has a ground truth mask" in shown.text
    assert "Highest quality score" in shown.text and "Lowest quality score" in shown.text
    text = shown.text.replace("\xa0", " ")
    assert re.search(r"quality \d+ of 100: lead of the largest score \d+ %", text)
    assert "Lowest quality score of the network" not in text, "there is none"
    assert "mAP of the tags" in shown.text
    assert "ground truth of" not in shown.text and "Confusions" not in shown.text


def test_a_run_with_some_steps_only(scene: Scene) -> None:
    photographed(scene)
    shown = page(scene.root)
    assert "not evaluated yet" in shown.text
    assert "Examples" in shown.text and class_heats(shown)
    assert photo_images(scene.root) == 2 * 3 + class_heats(shown), "photo, truth, heat"
    shutil.rmtree(scene.root / "infer-cam")
    assert page(scene.root) and photo_images(scene.root) == 2 * 2


def test_an_unfinished_training_is_plotted_and_redrawn(run: Path) -> None:
    def train(rows: int) -> None:
        with (
            pytest.raises(KeyboardInterrupt),
            step_folder(CamModel, run / "train-cam", section={}) as step,
        ):
            lines = [f"{10 * i},0.001,8,{1 / (i + 1)},{0.5 / (i + 1)}" for i in range(rows)]
            text = "\n".join(["step,lr,photos_per_second,loss,er", *lines, "70,0.0"])
            write_text(step.path / "losses.csv", text)
            raise KeyboardInterrupt

    train(5)
    first = page(run)
    assert "Training is not complete yet" in first.text
    assert "total loss" in first.text and "ER: equivariance" in first.text
    plots = loss_plots(run)
    assert len(plots) == 4
    train(7)
    page(run)
    assert loss_plots(run) != plots, "the page follows the log"


def loss_plots(run: Path) -> list[str]:
    html = (run / "report" / "index.html").read_text(encoding="utf-8")
    return re.findall(r"<svg.*?</svg>", html.split('id="training"', 1)[1])


def test_names_are_escaped(scene: Scene) -> None:
    names = ["<script>alert(1)</script>", 'a "quoted" & very ' + "long " * 40 + "name", "bird"]
    write_json(scene.root / "prepare" / "classes.json", {"names": names})
    maps = scene.root / "infer-cam" / "manifest.json"
    write_json(maps, read_json(maps) | {"metrics": {"tags": "known", "classes": names}})
    run = finished(photographed(scene))
    write_text(run / "recipe.yaml", "name: '<b>bold</b>'\n")
    shown = page(run)
    assert shown.count("script") == 0 and shown.count("b") == 0
    assert "<script>alert(1)</script>" in shown.text
    assert "<b>bold</b>" in shown.text
    assert names[1].strip() in shown.text


def test_runs_are_compared(run: Path, made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(made, other)
    write_text(other / "recipe.yaml", "name: other-recipe\n")
    path = other / "evaluate" / "evaluation.json"
    scores = read_json(path)
    ours = scores["splits"][0]["masks"]["miou"]
    scores["splits"][0]["masks"] |= {"miou": ours - 0.123, "miou_interval": None}
    write_json(path, scores)
    shown = page(run, compare=[other])
    numbers = shown.text.split("other-recipe is", 1)[0].split("The maps' mIoU", 1)[0]
    assert f"other-recipe train {100 * ours - 12.3:.1f} +12.3" in numbers
    assert "other-recipe val" in numbers and "0.0" in numbers
    assert "heat, other-recipe" in shown.text
    assert photo_images(run) == 6 * 6


def test_compared_runs_of_the_same_name_get_unique_labels(run: Path) -> None:
    copy = run.parent / "copy" / run.name
    shutil.copytree(run, copy)
    text = page(run, compare=[copy]).text
    assert str(copy) in text


def test_the_page_is_written_again_only_after_a_change(run: Path) -> None:
    path = report(run, Report(photos=1), run / "report").path / "index.html"

    def rewritten(photos: int) -> bool:
        before = path.stat().st_mtime_ns
        report(run, Report(photos=photos), run / "report")
        return path.stat().st_mtime_ns != before

    assert not rewritten(1)
    assert rewritten(2)
    assert not rewritten(2)
    write_text(run / "recipe.yaml", "name: renamed\n")
    assert rewritten(2)
    assert "renamed" in path.read_text(encoding="utf-8")
    assert ReportPage.open(run / "report").manifest.inputs["evaluate"].path == "../evaluate"
    shutil.rmtree(run / "evaluate")
    assert rewritten(2)
    assert "not evaluated yet" in path.read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    first = (report(run, Report(), run / "report").path / "index.html").read_bytes()
    shutil.rmtree(run / "report")
    assert (report(run, Report(), run / "report").path / "index.html").read_bytes() == first


def test_a_deleted_photo_is_named_and_left_out(run: Path) -> None:
    lines = (run / "evaluate" / "photos.jsonl").read_text().splitlines()
    rows = sorted(
        (r for r in map(json.loads, lines) if r["miou"] is not None and r["map_tags"]),
        key=lambda row: -row["miou"],
    )
    (run / "photos" / f"{rows[0]['id']}.jpg").unlink()
    shown = page(run)
    assert f"{rows[0]['id']} can't be shown: photo is missing" in shown.text
    assert photo_images(run) == 20 + class_heats(shown)


def test_photos_without_a_sure_pixel_are_listed(run: Path) -> None:
    with step_folder(AffinityModel, run / "train-affinity", section={}) as step:
        step.finish(metrics={WITHOUT_SURE_PIXELS: ["train/x", "train/y"]})
    shown = page(run)
    assert "2 photos without a sure pixel for AffinityNet" in shown.text
    assert "train/x" in shown.text


def test_photos_whose_masks_show_no_tag_are_listed(run: Path) -> None:
    manifest = run / "pseudo-masks" / "manifest.json"
    found = read_json(manifest)
    found["metrics"][WITHOUT_TAGGED_PIXELS] = ["train/x"]
    write_json(manifest, found)
    shown = page(run)
    assert "1 photo whose pseudo masks show none of their tags" in shown.text
    assert "train/x" in shown.text


def test_left_out_photos_are_listed(run: Path) -> None:
    manifest = run / "infer-cam" / "manifest.json"
    write_json(manifest, read_json(manifest) | {"skipped": ["val/x: photo can't be read"]})
    shown = page(run)
    assert "1 photos left out" not in shown.text and "1 photo left out" in shown.text
    assert "val/x: photo can't be read" in shown.text


def test_254_classes(run: Path) -> None:
    names = ["background", *(f"class {i}" for i in range(254))]
    path = run / "evaluate" / "evaluation.json"
    scores = read_json(path)
    rng = np.random.default_rng(0)
    for split in scores["splits"]:
        split["masks"]["classes"] = [
            split["masks"]["classes"][0] | {"name": name, "iou": float(rng.random())}
            for name in names
        ]
        split["masks"]["confusion"] = rng.integers(0, 99, (255, 255)).tolist()
        split["tags"]["classes"] = [
            split["tags"]["classes"][0] | {"name": name} for name in names[1:]
        ]
    scores["classes"] = names
    write_json(path, scores)
    shown = page(run)
    assert "225 more rows" in shown.text, "long tables fold"
    assert "class 253" in shown.text
    assert "234 others are left out" in shown.text, "the confusion table is capped"


@pytest.mark.parametrize("content", ["", "{", '{"splits": 3}'])
def test_a_damaged_evaluation_is_named(run: Path, content: str) -> None:
    (run / "evaluate" / "evaluation.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"evaluation\.json"):
        report(run, Report(), run / "report")
    assert not (run / "report").exists()


def test_counts_of_other_classes_are_named(run: Path) -> None:
    path = run / "evaluate" / "photos.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    row = json.loads(first)
    row["counts"] = {"pseudo masks": [[0, 0, 5], [99, 0, 5]]}
    path.write_text(json.dumps(row) + "\n" + "".join(rest))
    with pytest.raises(RunFolderError, match=r"photos\.jsonl is missing or damaged"):
        report(run, Report(), run / "report")


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run folder"):
        report(tmp_path / "absent", Report(), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="not a run folder"):
        report(tmp_path / "empty", Report(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_another_step_is_not_overwritten(run: Path) -> None:
    with pytest.raises(RunFolderError, match="holds evaluate, not report"):
        report(run, Report(), run / "evaluate")
    assert (run / "evaluate" / "evaluation.json").is_file()
