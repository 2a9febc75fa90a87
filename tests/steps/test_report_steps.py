"""Stages, affinity labels and AffinityNet's training on the page about a run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scenes import NAMES, OneRank, discs
from test_report import page
from walked import drawn_by, photographed, walked

from tag2mask.affinity.labels import label_path
from tag2mask.artifacts.handles import AffinityLabels, AffinityModel, Predictions, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import IGNORE
from tag2mask.data.masks import write_mask
from tag2mask.files.atomic import write_text
from tag2mask.files.json_file import read_json, write_json
from tag2mask.recipe.crf import ComparedCrf, MaskCrf
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.recipe.sections import Evaluate
from tag2mask.steps.evaluate import evaluate
from tag2mask.steps.pseudo_masks import pseudo_masks

STAGES = ["SEAM", "SEAM + CRF", "SEAM + walk", "SEAM + walk + CRF", "segmenter"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all steps, without the photos; tests must not change it."""
    scene, rank = photographed(discs(tmp_path_factory.mktemp("made"))), OneRank()
    run = scene.root
    shutil.move(run / "infer-cam", run / "drawn")
    seam = drawn_by(scene, source="drawn")
    colors = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128)]
    with step_folder(
        AffinityLabels,
        run / "affinity-labels",
        section={},
        coverage={"data": scene.data, "maps": seam},
    ) as step:
        for sample in scene.samples["train"]:
            labels = np.full(sample.size, IGNORE, np.uint8)
            labels[:9] = 0
            write_mask(label_path(step.path, sample.id), labels, colors)
        labels = step.finish(metrics={"alphas": [2.5, 15.0]})
    with step_folder(
        AffinityModel, run / "train-affinity", section={}, inputs={"labels": labels}
    ) as step:
        rows = [f"{i},0.01,30,{1 / i},{2 / i},{3 / i},{4 / i}" for i in range(1, 9)]
        write_text(
            step.path / "losses.csv",
            "\n".join(["step,lr,photos_per_second,loss,bg,fg,neg", *rows, ""]),
        )
        step.finish(counts={"photos": 8})
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(
        scene.data, after, PseudoMasks(crf=MaskCrf(enabled=True)), run / "pseudo-masks", rank
    )
    with step_folder(
        SegmenterModel, run / "train-segmenter", section={}, inputs={"masks": masks}
    ) as step:
        rows = [f"{i},0.01,30,{1 / i},{1 / i}" for i in range(1, 9)]
        write_text(
            step.path / "losses.csv",
            "\n".join(["step,lr,photos_per_second,loss,cross_entropy", *rows, ""]),
        )
        network = step.finish()
    with step_folder(
        Predictions,
        run / "predict",
        section={"splits": ["train", "val"]},
        inputs={"model": network},
        coverage={"data": scene.data},
    ) as step:
        for sample in (s for samples in scene.samples.values() for s in samples):
            labels = np.zeros(sample.size, np.uint8)
            labels[:, : sample.size[1] // 2] = 1
            write_mask(step.path / "masks" / f"{sample.id}.png", labels, colors)
        predictions = step.finish()
    section = Evaluate(crf=ComparedCrf(enabled=True, iterations=1))
    evaluate(scene.data, after, masks, section, run / "evaluate", rank, [seam], predictions)
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run with its own photos."""
    copy = tmp_path / "run"
    shutil.copytree(made, copy)
    source = read_json(copy / "prepare" / "source.json")
    write_json(copy / "prepare" / "source.json", source | {"root": str(copy / "photos")})
    return copy


def part(run: Path, anchor: str) -> str:
    html = (run / "report" / "index.html").read_text(encoding="utf-8")
    return re.split(r'<section id="', html.split(f'<section id="{anchor}"', 1)[1])[0]


def rows_of(html: str) -> list[list[str]]:
    rows = [
        re.findall(r"<td.*?</td>", row, re.S) for row in re.findall(r"<tr>.*?</tr>", html, re.S)
    ]
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in rows if row]


def test_a_row_for_each_stage(run: Path) -> None:
    page(run)
    rows = rows_of(part(run, "stages"))
    splits = read_json(run / "evaluate" / "evaluation.json")["splits"]
    assert [row[0] for row in rows] == STAGES * 2
    scored = [(stage, split["stages"][0]) for split in splits for stage in split["stages"]]
    for row, (stage, first) in zip(rows, scored, strict=True):
        used, best = stage["used"], stage["best"]
        low, high = (f"{100 * end:.1f}" for end in used["miou_interval"])
        assert row[1] == f"{100 * used['miou']:.1f} ({low}–{high})"
        gain = round(100 * (used["miou"] - first["used"]["miou"]), 1)
        shown = f"{gain:+.1f}".replace("-", "−") if gain else "0.0"
        assert re.fullmatch(r"" if stage is first else rf"{re.escape(shown)}( \(.*\))?", row[2])
        assert row[3:5] == [f"{100 * used[key]:.1f}" for key in ("precision", "recall")]
        if stage["name"] == "segmenter":
            assert re.fullmatch(r"argmax; (train, 7|val, 3) photos, no tags", row[5])
        else:
            assert row[5] == ("0.3 (calibrated)" if "walk" not in stage["name"] else "0.5 (walk)")
        assert row[6:] == (
            ["–", "–"]
            if best is None
            else [f"{100 * best['miou']:.1f}", f"{best['background_threshold']:.2f}"]
        )
    text = part(run, "stages")
    assert "train, 7 photos, known tags." in text and "val, 3 photos, known tags." in text


def test_a_curve_or_a_dot_for_each_stage(run: Path) -> None:
    page(run)
    html = part(run, "stages")
    plots = re.findall(r"<svg.*?</svg>", html, re.S)
    assert len(plots) == 2, "one plot per split"
    for plot in plots:
        assert re.findall(r'<g class="line (s\d)"', plot) == ["s0", "s1", "s2", "s3"]
        assert [plot.count(f'class="mark {name}"') for name in ("s0", "s1", "s2", "s3")] == [
            2,
            1,
            2,
            1,
        ], "best and in use; a CRF alone"
    legend = re.search(r'<ul class="legend">(.*?)</ul>', html, re.S)
    assert legend is not None
    assert re.findall(r"</span>(.*?)</li>", legend[1]) == STAGES[:-1], "a network has no threshold"
    html = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="background-threshold"' not in html, "one plot shows both"


def test_a_row_of_pictures_from_the_photo_to_the_truth(run: Path) -> None:
    page(run)
    captions = re.findall(r"<figcaption>(.*?)</figcaption></figure>", part(run, "photos"))
    wanted = [
        "photo",
        "heat: SEAM",
        "mask: CRF",
        "heat: walk",
        "pseudo mask",
        "segmenter",
        "ground truth",
    ]
    titles = re.findall(r"<h3>(.*?)</h3>", part(run, "photos"))
    assert titles == ["Best", "Middle", "Worst", "Worst of the network"]
    of_classes = [caption for caption in captions if caption.removeprefix("heat: ") in NAMES]
    assert len(of_classes) == 4, "two photos of two classes"
    assert [caption for caption in captions if caption not in of_classes] == wanted * 8
    after = captions.index(of_classes[0])
    assert captions[after - 1] == "heat: walk" and captions[after + 2] == "pseudo mask"
    shutil.rmtree(run / "evaluate" / "crf")
    shutil.rmtree(run / "report")
    page(run)
    captions = re.findall(r"<figcaption>(.*?)</figcaption></figure>", part(run, "photos"))
    left = [caption for caption in captions if caption.removeprefix("heat: ") not in NAMES]
    assert left == [caption for caption in wanted if caption != "mask: CRF"] * 8


def test_labels_and_training_of_affinitynet(run: Path) -> None:
    shown = page(run)
    html = part(run, "affinity-labels")
    assert "α of the two backgrounds: 2.5 and 15." in html
    captions = re.findall(r"<figcaption>(.*?)</figcaption></figure>", html)
    assert captions == ["photo", "heat: SEAM", "affinity labels", "ground truth"] * 3 + [
        "photo",
        "heat: SEAM",
        "affinity labels",
    ], "train/7 has no mask; train/3 has no class"
    training = part(run, "training")
    for name in (
        "train-affinity",
        "pairs of background",
        "pairs of one class",
        "pairs of different classes",
    ):
        assert name in training
    assert "train-cam" not in training and "8 photos" in shown.text
    before = training
    with (run / "train-affinity" / "losses.csv").open("a") as log:
        log.write("9,0.01,30,0.1,0.1,0.1,0.1\n")
    page(run)
    assert part(run, "training") != before, "the page follows the log"


def test_an_unreadable_label_is_named(run: Path) -> None:
    (run / "affinity-labels" / "labels" / "train" / "0.png").write_bytes(b"no picture")
    assert "train/0 can't be shown: not a mask, despite its name" in page(run).text


def test_runs_with_and_without_a_walk_are_compared(run: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(run, plain)
    for step in ("walk", "affinity-labels", "train-affinity", "train-segmenter", "predict"):
        shutil.rmtree(plain / step)
    write_text(plain / "recipe.yaml", "name: plain\n")
    path = plain / "evaluate" / "evaluation.json"
    scores = read_json(path)
    for split in scores["splits"]:
        split["stages"] = split["stages"][:1]
        split["left_out"] = 2
    write_json(path, scores)
    page(run, compare=[plain])
    rows = rows_of(part(run, "stages"))
    assert [row[0] for row in rows] == [*STAGES, "SEAM"] * 2
    assert rows[5][1] == "plain"
    assert rows[5][6] == "0.3 (calibrated); train, 7 photos (2 left out), known tags"
    assert 'id="background-threshold"' in (run / "report" / "index.html").read_text(
        encoding="utf-8"
    )
    captions = re.findall(r"<figcaption>(.*?)</figcaption></figure>", part(run, "photos"))
    assert captions[:5] == [
        "photo",
        "heat: SEAM, run",
        "mask: CRF, run",
        "heat: walk, run",
        captions[4],
    ] and captions[4].startswith("pseudo mask, run, ")
    assert captions[5:8] == ["segmenter, run", "heat: SEAM, plain", "mask: CRF, plain"]
    assert captions[9] == "ground truth"


def test_an_evaluation_without_stages(run: Path) -> None:
    path = run / "evaluate" / "evaluation.json"
    scores = read_json(path)
    for split in scores["splits"]:
        del split["stages"], split["left_out"]
    write_json(path, scores)
    page(run)
    html = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="stages"' not in html and 'id="background-threshold"' in html
