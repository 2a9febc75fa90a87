"""Scores of the stages: maps, dense CRF, walk, pseudo masks and segmentation network."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import OneRank, Scene, run_on_ranks
from walked import drawn_by, eight_pixels, photographed, walked

from small_runs import invoke
from tag2mask.artifacts.handles import (
    CamMaps,
    Evaluation,
    Predictions,
    PseudoMaskFolder,
    WalkedMaps,
)
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf
from tag2mask.data.index import Sample
from tag2mask.data.masks import read_mask, write_mask
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataError, RecipeError
from tag2mask.evaluation.evidence import photo_qualities
from tag2mask.evaluation.records import PointScores, SplitScores, read_scores
from tag2mask.maps.background_threshold import alpha_from_threshold, derived_alpha, with_background
from tag2mask.maps.cam_map import CamMap, read_map
from tag2mask.maps.mapped_photos import MappedPhotos
from tag2mask.metrics.confusion import Confusion
from tag2mask.recipe.crf import ComparedCrf, MaskCrf
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.recipe.sections import Evaluate
from tag2mask.steps.evaluate import evaluate, format_table
from tag2mask.steps.pseudo_masks import pseudo_masks

FOUR = Evaluate(thresholds=(0.1, 0.3, 0.5, 0.7))
CRF = Evaluate(crf=ComparedCrf(enabled=True, iterations=1))


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Scene, CamMaps, WalkedMaps, PseudoMaskFolder]:
    scene, maps, after = eight_pixels(tmp_path)
    masks = pseudo_masks(scene.data, after, PseudoMasks(), tmp_path / "pseudo-masks", OneRank())
    return scene, maps, after, masks


@pytest.fixture
def seam(scene: Scene) -> CamMaps:
    photographed(scene)
    return drawn_by(scene, name="seam")


def splits(evaluation: Evaluation) -> tuple[SplitScores, ...]:
    return read_scores(evaluation).splits


def test_scores_computed_by_hand(tiny, one_rank) -> None:
    scene, maps, after, masks = tiny
    (train,) = splits(
        evaluate(scene.data, after, masks, FOUR, scene.root / "evaluate", one_rank, [maps])
    )
    seam, walk = train.stages
    assert (seam.name, walk.name) == ("SEAM", "SEAM + walk")
    assert seam.photos == walk.photos == 2
    # Photo a at 0.25: the cat has 3 of its 4 pixels and one of background's 3; b adds 8 of these.
    assert seam.used == PointScores(
        0.25,
        "estimated",
        miou=pytest.approx((3 / 5 + 10 / 12) / 2),
        precision=pytest.approx((3 / 4 + 10 / 11) / 2),
        recall=pytest.approx((3 / 4 + 10 / 11) / 2),
    )
    assert seam.curve.thresholds == (0.1, 0.3, 0.5, 0.7)
    assert seam.curve.miou == pytest.approx(
        ((4 / 6 + 9 / 11) / 2, (3 / 5 + 10 / 12) / 2, (2 / 5 + 10 / 13) / 2, (1 / 4 + 11 / 14) / 2)
    )
    assert seam.best == replace(
        seam.used,
        background_threshold=0.1,
        background_source="best",
        miou=pytest.approx((4 / 6 + 9 / 11) / 2),
        precision=pytest.approx((4 / 6 + 1) / 2),
        recall=pytest.approx((1 + 9 / 11) / 2),
    )
    assert walk.used == PointScores(0.5, "walk", 1.0, 1.0, 1.0)
    assert walk.best == PointScores(0.3, "best", 1.0, 1.0, 1.0), "the lowest of equals"
    assert train.masks.miou == 1.0 and train.curve == walk.curve


def predicted(scene: Scene, masks: dict[str, np.ndarray], **section: object) -> Predictions:
    """Return a folder of ``predict`` with the given masks by photo."""
    folder = scene.root / "predict"
    with step_folder(
        Predictions,
        folder,
        section=section,
        inputs={"model": "a network"},
        coverage={"data": scene.data},
    ) as step:
        for photo_id, labels in masks.items():
            write_mask(folder / "masks" / f"{photo_id}.png", labels, ((0, 0, 0),) * 4)
        return step.finish()


def test_the_segmentation_network_comes_last(tiny, one_rank) -> None:
    scene, maps, after, _ = tiny
    masks = pseudo_masks(
        scene.data,
        after,
        PseudoMasks(crf=MaskCrf(enabled=True)),
        scene.root / "sharpened",
        one_rank,
    )
    given = {"a": np.array([[1, 1, 0, 0], [1, 2, 0, 0]], np.uint8), "b": np.zeros((2, 4), np.uint8)}
    found = predicted(scene, given, splits=["train", "val"])
    evaluation = evaluate(
        scene.data, after, masks, FOUR, scene.root / "evaluate", one_rank, [maps], found
    )
    (train,) = splits(evaluation)
    assert [stage.name for stage in train.stages] == [
        "SEAM",
        "SEAM + walk",
        "SEAM + walk + CRF",
        "segmenter",
    ]
    last = train.stages[-1]
    # The cat has 3 of its 4 pixels, the dog one that is none, the background all of its 11.
    assert last.used == PointScores(
        None,
        "argmax",
        miou=pytest.approx((3 / 4 + 0 + 1) / 3),
        precision=pytest.approx((1 + 0 + 1) / 3),
        recall=pytest.approx((3 / 4 + 1) / 2),
    )
    assert (last.tag_source, last.best, last.curve) == ("no", None, None)
    assert evaluation.manifest.metrics["train"]["segmenter_miou"] == last.used.miou
    assert train.network.miou == last.used.miou != train.masks.miou
    assert [c.iou for c in train.network.classes[:3]] == pytest.approx([1, 3 / 4, 0])
    rows = [json.loads(line) for line in (evaluation.path / "photos.jsonl").open()]
    assert [row["network_miou"] for row in rows] == pytest.approx([(3 / 4 + 0 + 1) / 3, 1])
    assert train.stages[2].used.miou == train.masks.miou, "the masks are not the network's"
    assert train.stages[2].boundary_miou == train.masks.boundary_miou != last.boundary_miou
    assert train.stages[0].boundary_miou is None, "of maps"
    assert "| segmenter" in format_table(evaluation) and "argmax" in format_table(evaluation)


def test_predictions_of_one_split_are_scored_on_it_alone(scene, seam, one_rank) -> None:
    masks = pseudo_masks(scene.data, seam, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    found = predicted(
        scene,
        {s.id: scene.truths[s.id] % 255 for s in scene.samples["val"]},
        splits=["val"],
        crf={"enabled": True},
    )
    train, val = splits(
        evaluate(
            scene.data,
            seam,
            masks,
            Evaluate(),
            scene.root / "evaluate",
            one_rank,
            predictions=found,
        )
    )
    assert [stage.name for stage in train.stages] == ["SEAM"]
    assert [stage.name for stage in val.stages] == ["SEAM", "segmenter + CRF"]
    assert val.stages[-1].used.miou == val.stages[-1].boundary_miou == 1.0


def test_a_missing_prediction_is_named(tiny, one_rank) -> None:
    scene, maps, after, masks = tiny
    found = predicted(scene, {"a": np.zeros((2, 4), np.uint8)}, splits=["train"])
    with pytest.raises(DataError, match=r"'b' has no mask of stage 'segmenter'.*step again"):
        evaluate(scene.data, after, masks, FOUR, scene.root / "evaluate", one_rank, [maps], found)


def test_a_crf_without_iterations_is_the_threshold(tiny, one_rank) -> None:
    scene, maps, after, masks = tiny
    section = FOUR.model_copy(update={"crf": ComparedCrf(enabled=True, iterations=0)})
    evaluation = evaluate(
        scene.data, after, masks, section, scene.root / "evaluate", one_rank, [maps]
    )
    (train,) = splits(evaluation)
    seam, crf, _ = train.stages
    assert [stage.name for stage in train.stages] == ["SEAM", "SEAM + CRF", "SEAM + walk"]
    assert crf.used == seam.used and crf.curve is None and crf.best is None
    assert read_mask(evaluation.path / "crf" / "a.png", 3).tolist() == [[1, 1, 0, 0], [1, 0, 1, 1]]
    table = format_table(evaluation)
    assert "stages of train, 2 photos, known tags, %" in table
    assert "SEAM + CRF" in table and "0.25 (estimated)" in table and "0.5 (walk)" in table


def test_the_crf_uses_the_background_threshold_in_use(scene, seam, one_rank) -> None:
    after = walked(scene, seam, alpha=alpha_from_threshold(0.3))
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    evaluation = evaluate(scene.data, after, masks, CRF, scene.root / "evaluate", one_rank, [seam])
    settings = replace(PUBLISHED_CRF, iterations=1)
    for split, samples in zip(splits(evaluation), scene.samples.values(), strict=True):
        confusion = Confusion.empty(3)
        for sample in [s for s in samples if s.id in scene.masked]:
            found, labels = read_map(scene.map_path(sample.id)), np.zeros(sample.size, np.uint8)
            if found.tags:
                with Image.open(sample.image) as photo:
                    crf = DenseCrf(np.asarray(photo), settings)
                scores = with_background(found.full_scores(), derived_alpha(0.3))
                labels = np.array([0, *(tag + 1 for tag in found.tags)], np.uint8)[
                    crf.refine(scores).argmax(axis=0)
                ]
            confusion.add(scene.truths[sample.id], labels)
        row = split.stages[1]
        assert row.name == "SEAM + CRF"
        assert (row.used.background_threshold, row.used.background_source) == (0.3, "fixed")
        assert row.used.miou == confusion.miou()
        assert row.used.precision == pytest.approx(np.nanmean(confusion.precision()))
        assert row.used.recall == pytest.approx(np.nanmean(confusion.recall()))
    assert not (evaluation.path / "crf" / "train" / "7.png").exists(), "it has no mask"


def test_masks_of_a_crf_are_a_separate_stage(scene, seam, one_rank) -> None:
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    section = PseudoMasks(crf=MaskCrf(enabled=True))
    masks = pseudo_masks(scene.data, after, section, scene.root / "pseudo-masks", one_rank)
    for split in splits(
        evaluate(scene.data, after, masks, Evaluate(), scene.root / "evaluate", one_rank, [seam])
    ):
        names = [stage.name for stage in split.stages]
        assert names == ["SEAM", "SEAM + walk", "SEAM + walk + CRF"]
        last = split.stages[-1]
        assert (last.used.miou, last.used.precision, last.used.recall) == (
            split.masks.miou,
            split.masks.precision,
            split.masks.recall,
        )
        assert last.used.background_source == "walk" and last.curve is None
        assert split.stages[1].used.miou != split.masks.miou


@pytest.mark.parametrize(
    ("head", "branch", "name"),
    [
        ("cam", "plain", "CAM"),
        ("mdc", "plain", "MDC"),
        ("mdc", "refined", "MDC + PCM"),
        ("of another version", "plain", "maps"),
    ],
)
def test_maps_are_named_by_their_head(scene, one_rank, head: str, branch: str, name: str) -> None:
    maps = drawn_by(scene, branch, name="drawn", head=head)
    after = walked(scene, maps, background_threshold=0.3, background_source="estimated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    evaluation = evaluate(scene.data, after, masks, FOUR, scene.root / "evaluate", one_rank, [maps])
    for split in splits(evaluation):
        assert [stage.name for stage in split.stages] == [name, f"{name} + walk"]


def test_without_a_walk_the_maps_are_the_only_stage(scene, one_rank) -> None:
    section = PseudoMasks(threshold_from="fixed", background_threshold=0.4)
    masks = pseudo_masks(scene.data, scene.maps, section, scene.root / "pseudo-masks", one_rank)
    evaluation = evaluate(
        scene.data, scene.maps, masks, Evaluate(), scene.root / "evaluate", one_rank
    )
    written = json.loads((evaluation.path / "evaluation.json").read_text())
    for split in written["splits"]:
        assert list(split) == [
            "split",
            "photos",
            "tag_source",
            "background_threshold",
            "background_source",
            "masks",
            "curve",
            "tags",
            "doubtful_tags",
            "stages",
            "left_out",
            "evidence",
            "rates",
            "cross_fitted",
            "network",
            "class_thresholds",
        ]
        (only,) = split["stages"]
        assert only["name"] == "maps", "the manifest has no branch"
        assert only["curve"] == split["curve"] and split["left_out"] == 0
        assert only["used"] == {"background_threshold": 0.4, "background_source": "fixed"} | {
            key: split["masks"][key] for key in ("miou", "precision", "recall", "miou_interval")
        }
    assert "stages of" not in format_table(evaluation)
    assert set(evaluation.manifest.coverage) == {"data", "maps", "masks", "ground truth"}


def test_without_a_walk_the_crf_follows_the_maps(scene, one_rank) -> None:
    photographed(scene)
    maps = drawn_by(scene, "plain", name="cam")
    plain = PseudoMasks(threshold_from="fixed", background_threshold=0.4)
    masks = pseudo_masks(scene.data, maps, plain, scene.root / "plain", one_rank)
    rows = splits(evaluate(scene.data, maps, masks, CRF, scene.root / "one", one_rank))[0].stages
    assert [row.name for row in rows] == ["CAM", "CAM + CRF"]
    # Where the masks were made with a CRF of their own, theirs is the one.
    sharp = plain.model_copy(update={"crf": MaskCrf(enabled=True)})
    masks = pseudo_masks(scene.data, maps, sharp, scene.root / "sharp", one_rank)
    evaluation = evaluate(scene.data, maps, masks, CRF, scene.root / "two", one_rank)
    assert [row.name for row in splits(evaluation)[0].stages] == ["CAM", "CAM + CRF"]
    assert splits(evaluation)[0].stages[1].used.miou == splits(evaluation)[0].masks.miou
    assert not (evaluation.path / "crf").exists()


def test_the_crf_follows_the_last_maps_before_the_walk(scene, seam, one_rank) -> None:
    cam, out = drawn_by(scene, "plain", name="cam"), scene.root / "evaluate"
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    evaluation = evaluate(scene.data, after, masks, CRF, out, one_rank, [cam, seam])
    names = [row.name for row in splits(evaluation)[0].stages]
    assert names == ["CAM", "SEAM", "SEAM + CRF", "SEAM + walk"]


def test_several_earlier_maps(scene, seam, one_rank) -> None:
    cam, again = drawn_by(scene, "plain", name="cam"), drawn_by(scene, name="again")
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    evaluation = evaluate(
        scene.data, after, masks, Evaluate(), scene.root / "evaluate", one_rank, [cam, again, seam]
    )
    rows = splits(evaluation)[0].stages
    assert [row.name for row in rows] == ["CAM", "SEAM", "SEAM 2", "SEAM + walk"]
    assert [row.used.background_source for row in rows] == [
        "estimated",
        "estimated",
        "calibrated",
        "walk",
    ], "the walk took the last one"
    assert set(evaluation.manifest.coverage) > {"earlier maps", "earlier maps 2", "earlier maps 3"}


def test_each_map_is_read_once(scene, seam, one_rank, monkeypatch) -> None:
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "masks", one_rank)
    read = []

    def counted(photos: MappedPhotos, sample: Sample) -> CamMap:
        read.append((photos.folder, sample.id))
        return original(photos, sample)

    original = MappedPhotos.read
    monkeypatch.setattr(MappedPhotos, "read", counted)
    out = scene.root / "evaluate"
    evaluate(scene.data, after, masks, Evaluate(), out, one_rank, earlier=[seam])
    photos = sum(len(samples) for samples in scene.samples.values())
    assert len(read) == len(set(read)) == 2 * photos


def test_walked_maps_alone(scene, seam, one_rank) -> None:
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    evaluation = evaluate(scene.data, after, masks, Evaluate(), scene.root / "one", one_rank)
    assert [row.name for row in splits(evaluation)[0].stages] == ["walk"]
    with pytest.raises(DataError, match="--earlier"):
        evaluate(scene.data, after, masks, CRF, scene.root / "two", one_rank)


def test_two_ranks_give_the_same_files(scene, seam, one_rank) -> None:
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)

    def run(name: str, rank: OneRank) -> Evaluation:
        return evaluate(scene.data, after, masks, CRF, scene.root / name, rank, [seam])

    alone = run("alone", one_rank)
    together, _ = run_on_ranks(lambda rank: run("together", rank), 2)
    for file in ("evaluation.json", "photos.jsonl", "table.md", "crf/train/0.png"):
        assert (alone.path / file).read_bytes() == (together.path / file).read_bytes()


def test_an_interrupted_crf_resumes(scene, seam, one_rank, monkeypatch) -> None:
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    out, refine, done = scene.root / "evaluate", DenseCrf.refine, []

    def interrupted(crf: DenseCrf, scores: np.ndarray) -> np.ndarray:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(scores)
        return refine(crf, scores)

    monkeypatch.setattr(DenseCrf, "refine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(scene.data, after, masks, CRF, out, one_rank, [seam])
    known = {
        path: path.stat().st_mtime_ns
        for path in (out / "crf").rglob("*.png")
        if path.stem in [line_id.rpartition("/")[2] for line_id in journal(out)]
    }
    assert known
    monkeypatch.setattr(DenseCrf, "refine", refine)
    evaluation = evaluate(scene.data, after, masks, CRF, out, one_rank, [seam])
    assert {path: path.stat().st_mtime_ns for path in known} == known, "those were kept"
    assert len(list((out / "crf").rglob("*.png"))) == len(scene.masked)
    complete = evaluate(scene.data, after, masks, CRF, scene.root / "complete", one_rank, [seam])
    assert [asdict(split) for split in splits(evaluation)] == [asdict(s) for s in splits(complete)]


def journal(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / "items.jsonl").read_text().splitlines()]


def test_photos_to_leave_out_are_in_no_score(scene, seam, one_rank) -> None:
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    listed = scene.root / "tuned-on.txt"
    listed.write_text("train/0\ntrain/2\n")
    section = Evaluate(leave_out=str(listed))
    evaluation = evaluate(
        scene.data, after, masks, section, scene.root / "left-out", one_rank, [seam]
    )
    train, val = splits(evaluation)
    assert (train.left_out, train.photos, train.masks.photos) == (2, 6, 5)
    assert evaluation.manifest.counts["left_out"] == 2
    assert (val.left_out, val.photos) == (0, 3)
    lines = (evaluation.path / "photos.jsonl").read_text().splitlines()
    assert not {json.loads(line)["id"] for line in lines} & {"train/0", "train/2"}
    confusion = Confusion.empty(3)
    for sample in scene.samples["train"]:
        if sample.id in scene.masked - {"train/0", "train/2"}:
            made = read_mask(masks.path / "masks" / f"{sample.id}.png", 3)
            confusion.add(scene.truths[sample.id], made)
    assert train.masks.miou == train.stages[-1].used.miou == confusion.miou()
    assert train.tags.photos == 6
    assert "photos left out" in format_table(evaluation)
    # The list as it is now decides, not what it is called.
    listed.write_text("train/0\n")
    again = evaluate(scene.data, after, masks, section, evaluation.path, one_rank, [seam])
    assert splits(again)[0].left_out == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train/0\nelsewhere/1\n", "photos not in the data: elsewhere/1"),
        (None, "tuned-on"),
        ("../x\n", "tuned-on"),
        (
            "".join(f"{split}/{i}\n" for i in range(11) for split in [("train", "val")[i > 7]]),
            "every photo that could be scored is to be left out",
        ),
    ],
)
def test_invalid_lists_of_photos_are_refused(scene, one_rank, text, message) -> None:
    masks = pseudo_masks(
        scene.data,
        scene.maps,
        PseudoMasks(threshold_from="fixed"),
        scene.root / "pseudo-masks",
        one_rank,
    )
    listed = scene.root / "tuned-on.txt"
    if text is not None:
        listed.write_text(text)
    with pytest.raises(DataError if text else RecipeError, match=message):
        evaluate(
            scene.data,
            scene.maps,
            masks,
            Evaluate(leave_out=str(listed)),
            scene.root / "evaluate",
            one_rank,
        )


def test_the_command_takes_earlier_maps(scene, seam, one_rank) -> None:
    after = walked(scene, seam, background_threshold=0.3, background_source="calibrated")
    masks = pseudo_masks(scene.data, after, PseudoMasks(), scene.root / "pseudo-masks", one_rank)
    out = scene.root / "evaluate"
    line = [
        "evaluate",
        "--data",
        scene.data.path,
        "--maps",
        after.path,
        "--masks",
        masks.path,
        "--out",
        out,
    ]
    refused = invoke(*line, "--earlier", scene.root / "elsewhere")
    assert refused.exit_code == 1 and "elsewhere" in refused.stderr and not out.exists()
    done = invoke(*line, "--earlier", seam.path)
    assert done.exit_code == 0, done.output
    rows = splits(Evaluation.open(out))[0].stages
    assert [row.name for row in rows] == ["SEAM", "SEAM + walk"]


def test_rates_and_quality_need_no_masks(scene, seam, one_rank) -> None:
    scene.masked = set()
    scene.write()
    masks = pseudo_masks(scene.data, scene.maps, PseudoMasks(), scene.root / "masks", one_rank)
    truths = {s.id: scene.truths[s.id] % 255 for split in SPLITS for s in scene.samples[split]}
    (missing, wrong), speck = ("train/0", "train/3"), "train/1"  # of tags 0, none, 1
    truths[missing] = np.zeros_like(truths[missing])
    truths[wrong] = np.full_like(truths[wrong], 3)
    truths[speck] = truths[speck].copy()
    truths[speck][0, 0] = 1
    found = predicted(scene, truths, splits=["train", "val"])
    arguments = (scene.data, scene.maps, masks)
    out, section = scene.root / "evaluate", Evaluate(min_area=0.01)
    evaluation = evaluate(*arguments, section, out, one_rank, predictions=found)
    train, val = splits(evaluation)
    first, second, third = train.rates.classes
    assert (first.tagged, first.missed, first.false_alarms) == (3, 1, 0), "a speck is no alarm"
    assert (second.missed, second.false_alarms, third.missed, third.false_alarms) == (0, 0, 0, 1)
    assert train.rates.shown[-1] == (0, 0, 1) and train.rates.among[-1] == (1, 1, 1)
    assert val.rates.photos == 3 and not any(c.missed for c in val.rates.classes)
    rows = {row["id"]: row for row in map(json.loads, (out / "photos.jsonl").open())}
    assert rows[wrong]["areas"] == {"bird": 1.0} and rows[missing]["areas"] == {}
    assert rows[missing]["evidence"]["tag_agreement"] < 0.5 < rows[speck]["evidence"]["agreement"]
    own = [row["evidence"] for row in rows.values() if row["split"] == "train"]
    scores = [
        {key: row[key] for key in ("quality", "network_quality")}
        for row in rows.values()
        if row["split"] == "train"
    ]
    assert scores == photo_qualities(own)
    assert rows[wrong]["quality"] is None, "without a tag, its pseudo mask is right"
    lowest = min(scores, key=lambda score: score["network_quality"])
    assert rows[wrong]["network_quality"] == lowest["network_quality"]
    assert train.evidence["agreement"] == pytest.approx(np.mean([e["agreement"] for e in own]))
