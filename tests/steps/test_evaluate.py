import csv
import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scenes import NAMES, run_on_ranks

from tag2mask.artifacts.handles import Predictions
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import DataError, RunFolderError
from tag2mask.evaluation.evidence import map_evidence
from tag2mask.evaluation.records import read_scores
from tag2mask.maps.background_threshold import labels_from_scores
from tag2mask.maps.cam_map import read_map, write_map
from tag2mask.maps.mapped_photos import mapped_photos
from tag2mask.metrics.bootstrap import ResampledTallies, percentile_interval
from tag2mask.metrics.boundary_iou import BoundaryCounts
from tag2mask.metrics.confusion import Confusion
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.recipe.sections import Evaluate
from tag2mask.steps.evaluate import _doubtful_tags, evaluate, format_table
from tag2mask.steps.pseudo_masks import pseudo_masks

FIXED = PseudoMasks(threshold_from="fixed", background_threshold=0.4)


@pytest.fixture
def masks(scene, one_rank):
    return pseudo_masks(scene.data, scene.maps, FIXED, scene.root / "pseudo-masks", one_rank)


def run(scene, masks, runtime, section=Evaluate(), name="evaluate"):  # noqa: B008
    return evaluate(scene.data, scene.maps, masks, section, scene.root / name, runtime)


def labels(masks, id):
    with Image.open(masks.path / "masks" / f"{id}.png") as image:
        return np.asarray(image)


def test_scores_are_those_of_the_counts_of_all_photos(scene, masks, one_rank):
    train, val = read_scores(run(scene, masks, one_rank)).splits
    for found, samples in ((train, scene.samples["train"]), (val, scene.samples["val"])):
        confusion, boundary = Confusion.empty(len(NAMES)), BoundaryCounts.empty(len(NAMES))
        known = [s.id for s in samples if s.id in scene.masked]
        for id in known:
            confusion.add(scene.truths[id], labels(masks, id))
            boundary.add(scene.truths[id], labels(masks, id), 0.02)
        assert found.masks.photos == len(known)
        assert found.photos == len(samples)
        assert found.masks.confusion == tuple(map(tuple, confusion.counts.tolist()))
        assert found.masks.miou == confusion.miou()
        assert found.masks.boundary_miou == boundary.miou()
        assert found.masks.pixel_accuracy == confusion.pixel_accuracy()
        for c, scores in enumerate(found.masks.classes):
            expected = [
                confusion.iou()[c],
                confusion.precision()[c],
                confusion.recall()[c],
                confusion.false_positive_share()[c],
                confusion.false_negative_share()[c],
                boundary.iou()[c],
            ]
            got = [
                scores.iou,
                scores.precision,
                scores.recall,
                scores.false_positive_share,
                scores.false_negative_share,
                scores.boundary_iou,
            ]
            assert got == [None if np.isnan(e) else e for e in expected]
    assert [c.name for c in train.masks.classes] == ["background", *NAMES]


def test_ignored_pixels_of_a_pseudo_mask_count_as_void(scene, masks, one_rank):
    complete = read_scores(run(scene, masks, one_rank))
    section = FIXED.model_copy(update={"unsure_below": 0.7})
    unsure = pseudo_masks(scene.data, scene.maps, section, scene.root / "unsure", one_rank)
    found = read_scores(run(scene, unsure, one_rank, name="evaluate-unsure"))
    for split, one, other in zip(("train", "val"), complete.splits, found.splits, strict=True):
        confusion = Confusion.empty(len(NAMES))
        for id in [s.id for s in scene.samples[split] if s.id in scene.masked]:
            made = labels(unsure, id)
            confusion.add(
                np.where(made == 255, 255, scene.truths[id]).astype(np.uint8),
                np.where(made == 255, 0, made).astype(np.uint8),
            )
        assert other.masks.confusion == tuple(map(tuple, confusion.counts.tolist()))
        assert other.masks.miou > one.masks.miou  # what is sure is right more often
        assert other.curve == one.curve  # the maps are scored everywhere


def test_the_curve_equals_the_pseudo_masks_score_at_their_threshold(scene, masks, one_rank):
    for split in read_scores(run(scene, masks, one_rank)).splits:
        assert split.curve.miou[split.curve.thresholds.index(0.4)] == split.masks.miou
        assert split.curve.best_miou == max(split.curve.miou)
        assert (
            split.curve.miou[split.curve.thresholds.index(split.curve.best_threshold)]
            == split.curve.best_miou
        )


def test_every_score_has_its_tag_source_and_threshold(scene, masks, one_rank):
    evaluation = run(scene, masks, one_rank)
    for split in read_scores(evaluation).splits:
        assert (split.tag_source, split.background_threshold, split.background_source) == (
            "known",
            0.4,
            "fixed",
        )
    table = format_table(evaluation)
    assert table == (evaluation.path / "table.md").read_text()
    for fact in ("train", "7 of 8", "3 of 3", "known", "0.4 (fixed)", "bird"):
        assert fact in table
    headline = evaluation.manifest.metrics["val"]
    assert headline["miou"] == read_scores(evaluation).splits[1].masks.miou


def test_one_line_per_photo(scene, masks, one_rank):
    lines = (run(scene, masks, one_rank).path / "photos.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    samples = scene.samples["train"] + scene.samples["val"]
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        confusion = Confusion.empty(len(NAMES))
        if sample.id in scene.masked:
            confusion.add(scene.truths[sample.id], labels(masks, sample.id))
            assert row["miou"] == confusion.miou()
        else:
            assert row["miou"] is None and row["pixel_accuracy"] is None
        assert row["evidence"] == map_evidence(read_map(scene.map_path(sample.id)), 0.4)
        assert row["tags"] == [NAMES[tag] for tag in sample.tags]


def test_the_plot_is_an_image(scene, masks, one_rank):
    with Image.open(run(scene, masks, one_rank).path / "curve.png") as image:
        assert image.format == "PNG" and min(image.size) > 400


def test_without_masks_tags_and_evidence_remain(scene, one_rank):
    scene.masked = set()
    scene.write()
    masks = pseudo_masks(scene.data, scene.maps, FIXED, scene.root / "pseudo-masks", one_rank)
    evaluation = run(scene, masks, one_rank)
    for split in read_scores(evaluation).splits:
        assert split.masks is None and split.curve is None
        assert split.tags.mean_average_precision == 1.0 and split.tags.mean_f1 == 1.0
        assert 0 < split.evidence["certainty"] < 1
    assert not (evaluation.path / "curve.png").exists()
    assert "tag mAP" in format_table(evaluation)


def test_a_doubtful_tag_is_no_formula():
    doubt = SimpleNamespace(photo="-a", tag="=HYPERLINK(1)", kind="wrong", probability=0.05)
    scores = SimpleNamespace(splits=[SimpleNamespace(split="train", doubtful_tags=[doubt])])
    assert _doubtful_tags(scores).split("\n")[1:] == [
        "train,'-a,'=HYPERLINK(1),wrong,0.05",
        "",
    ]


def test_doubtful_tags_are_listed(scene, masks, one_rank):
    path = scene.map_path("train/1")
    cam_map = read_map(path)
    write_map(path, replace(cam_map, probabilities=np.array([0.8, 0.05, 0.1], np.float32)))
    evaluation = run(scene, masks, one_rank)
    train, val = read_scores(evaluation).splits
    with (evaluation.path / "doubtful_tags.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["split", "photo", "tag", "kind", "probability"]
    assert rows == [
        ["train", "train/1", "dog", "wrong", "0.05"],
        ["train", "train/1", "cat", "missing", "0.8"],
    ]
    assert [(d.photo, d.tag, d.kind) for d in train.doubtful_tags] == [
        ("train/1", "dog", "wrong"),
        ("train/1", "cat", "missing"),
    ]
    assert val.doubtful_tags == ()
    assert train.tags.mean_average_precision < 1


def remove_validation_tags(scene):
    """Remove the tags of the validation photos and the classes of their maps."""
    scene.samples["val"] = [replace(s, tags=()) for s in scene.samples["val"]]
    scene.write()
    for sample in scene.samples["val"]:
        path = scene.map_path(sample.id)
        cam_map = read_map(path)
        write_map(path, replace(cam_map, tags=(), scores=cam_map.scores[:0]))


def test_a_split_without_any_tag_has_no_tag_scores(scene, one_rank):
    remove_validation_tags(scene)
    masks = pseudo_masks(scene.data, scene.maps, FIXED, scene.root / "pseudo-masks", one_rank)
    train, val = read_scores(run(scene, masks, one_rank)).splits
    assert train.tags is not None and val.tags is None


def test_paper_behavior_counts_absent_classes(scene, masks, one_rank):
    for id, truth in scene.truths.items():  # remove "cat" and "dog" from the validation masks
        if id.startswith("val/"):
            Image.fromarray(np.where(truth == 3, 3, 0).astype(np.uint8)).save(
                scene.root / "photos" / f"{id}.png"
            )
    remove_validation_tags(scene)
    masks = pseudo_masks(scene.data, scene.maps, FIXED, scene.root / "again", one_rank)
    default = read_scores(run(scene, masks, one_rank)).splits[1].masks
    published = read_scores(
        run(scene, masks, one_rank, Evaluate(behavior="published"), "published")
    )
    assert [c.iou for c in default.classes][1:3] == [None, None]
    assert [c.iou for c in published.splits[1].masks.classes][1:3] == [0.0, 0.0]
    assert published.splits[1].masks.miou == pytest.approx(default.miou / 2)


def test_two_ranks_give_the_same_files(scene, masks, one_rank):
    alone = run(scene, masks, one_rank, name="alone")
    together, _ = run_on_ranks(lambda rank: run(scene, masks, rank, name="together"), 2)
    for name in ("evaluation.json", "photos.jsonl", "table.md"):
        assert (alone.path / name).read_bytes() == (together.path / name).read_bytes()


def broken(image, scene, sample):
    if image == "color-coded":
        return Image.new("RGB", sample.size[::-1], (128, 0, 0))
    if image == "resized":
        return Image.fromarray(scene.truths[sample.id][::2, ::2].copy())
    return Image.new("L", sample.size[::-1], 9)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("color-coded", "color-coded"),
        ("resized", r"mask is 28 x 20 px, but its photo 'train/1' is 56 x 40"),
        ("outside", "mask has the values 9; 3 classes allow"),
    ],
)
def test_invalid_ground_truth_masks_are_refused(scene, masks, one_rank, image, message):
    sample = scene.samples["train"][1]
    broken(image, scene, sample).save(scene.root / "photos" / f"{sample.id}.png")
    with pytest.raises(DataError, match=message) as raised:
        run(scene, masks, one_rank)
    assert "train/1.png" in str(raised.value)
    assert not (scene.root / "evaluate" / "manifest.json").exists()


def test_a_missing_pseudo_mask_is_named(scene, masks, one_rank):
    (masks.path / "masks" / "train" / "2.png").unlink()
    with pytest.raises(DataError, match="'train/2' has no pseudo mask"):
        run(scene, masks, one_rank)


def test_new_masks_are_evaluated_without_another_folder(scene, masks, one_rank):
    before = read_scores(run(scene, masks, one_rank)).splits[0].masks.photos
    scene.masked = set(scene.truths)
    scene.write()
    masks = pseudo_masks(scene.data, scene.maps, FIXED, masks.path, one_rank)
    assert masks.manifest.counts["computed"] == 0
    assert read_scores(run(scene, masks, one_rank)).splits[0].masks.photos == before + 1


def test_a_complete_folder_is_unchanged(scene, masks, one_rank):
    path = run(scene, masks, one_rank).path / "table.md"
    path.write_text("mine")
    run(scene, masks, one_rank)
    assert path.read_text() == "mine"


def test_a_damaged_file_is_named(scene, masks, one_rank):
    evaluation = run(scene, masks, one_rank)
    (evaluation.path / "evaluation.json").write_text('{"classes": 3}')
    with pytest.raises(RunFolderError, match=r"not an evaluation\.json of this version"):
        read_scores(evaluation)


def test_masks_of_a_network_of_other_classes_are_refused(scene, masks, one_rank):
    with step_folder(Predictions, scene.root / "predict", section={"splits": ["val"]}) as step:
        predictions = step.finish(metrics={"classes": ["cow", "horse"]})
    with pytest.raises(DataError, match=r"predictions are of the classes .*cow.*horse"):
        evaluate(
            scene.data,
            scene.maps,
            masks,
            Evaluate(),
            scene.root / "evaluate",
            one_rank,
            predictions=predictions,
        )
    assert not (scene.root / "evaluate").exists()


def test_intervals_are_those_of_the_resampled_photos(scene, masks, one_rank):
    evaluation = run(scene, masks, one_rank)
    rows = [json.loads(line) for line in (evaluation.path / "photos.jsonl").open()]
    for split in read_scores(evaluation).splits:
        tallies = ResampledTallies(len(NAMES))
        known = [s.id for s in scene.samples[split.split] if s.id in scene.masked]
        for id in known:
            confusion = Confusion.empty(len(NAMES))
            confusion.add(scene.truths[id], labels(masks, id))
            tallies.add(id, confusion.cells())
            (row,) = (row for row in rows if row["id"] == id)
            assert row["counts"]["pseudo masks"] == confusion.cells().tolist()
            assert sorted(row["counts"][split.stages[0].name]) == sorted(confusion.cells().tolist())
        assert split.masks.miou_interval == percentile_interval(tallies.miou())
        (stage,) = split.stages
        assert stage.used.miou_interval == split.masks.miou_interval
        for c, found in enumerate(split.masks.classes):
            assert found.iou_interval == percentile_interval(tallies.iou()[c])
            assert found.precision_interval == percentile_interval(tallies.precision()[c])
            assert found.recall_interval == percentile_interval(tallies.recall()[c])
    assert read_scores(evaluation).splits[0].masks.miou_interval is not None


def test_an_evaluation_without_intervals_is_read(scene, masks, one_rank):
    evaluation = run(scene, masks, one_rank)
    path = evaluation.path / "evaluation.json"
    old = json.loads(path.read_text())
    for split in old["splits"]:
        del split["masks"]["miou_interval"]
        for found in split["masks"]["classes"]:
            del found["iou_interval"]
    path.write_text(json.dumps(old))
    assert read_scores(evaluation).splits[0].masks.miou_interval is None


def test_photos_that_chose_the_threshold_are_cross_fitted(scene, one_rank):
    section = PseudoMasks(threshold_from="calibrated", calibrate_photos=4)
    masks = pseudo_masks(scene.data, scene.maps, section, scene.root / "calibrated", one_rank)
    evaluation = run(scene, masks, one_rank)
    train, val = read_scores(evaluation).splits
    fitted = train.cross_fitted
    assert val.cross_fitted is None and fitted.photos == 4
    ids = masks.manifest.metrics["calibration_photos"]
    samples = [s for s in scene.samples["train"] if s.id in ids]
    order = sorted(ids, key=lambda id: hashlib.sha256(id.encode()).digest())
    maps = mapped_photos(scene.data, scene.maps)
    total = Confusion.empty(len(NAMES))
    for sample in (s for s in scene.samples["train"] if s.id in scene.masked):
        made = labels(masks, sample.id)
        if sample in samples:
            cam_map = maps.read(sample)
            threshold = fitted.thresholds[1 if sample.id in order[::2] else 0]
            made = labels_from_scores(cam_map.full_scores(), cam_map.tags, threshold, cam_map.size)
        total.add(scene.truths[sample.id], made)
    assert fitted.masks.confusion == tuple(map(tuple, total.counts.tolist()))
    assert fitted.masks.miou == total.miou() and fitted.masks.boundary_miou is None
    assert fitted.masks.miou_interval is not None
    assert "cross-fitted" in format_table(evaluation)


def test_masks_that_are_more_than_a_threshold_are_not_cross_fitted(scene, one_rank):
    section = PseudoMasks(threshold_from="calibrated", calibrate_photos=4, unsure_below=0.6)
    masks = pseudo_masks(scene.data, scene.maps, section, scene.root / "unsure", one_rank)
    assert read_scores(run(scene, masks, one_rank)).splits[0].cross_fitted is None
