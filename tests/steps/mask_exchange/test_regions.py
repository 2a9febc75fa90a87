"""Which regions of imported photos are drawn: labels, scores and tags."""

import json

import numpy as np
import pytest
from coco_files import square, write_coco
from PIL import Image

from small_runs import NAMES, invoke
from tag2mask.classes import ClassSet
from tag2mask.errors import ProblemsError
from tag2mask.steps.mask_exchange.importing import DRAWN, ImportOptions, import_masks
from tag2mask.steps.mask_exchange.readers import find_mask_files

IMAGES = [("a/00.png", (64, 48))]


def taken(path, data, out, **options):
    files = find_mask_files(path, ClassSet(NAMES))
    return import_masks(files, data, ImportOptions(DRAWN, **options), out)


def read(folder, id):
    return np.asarray(Image.open(folder / f"masks/{id}.png"))


def test_labels_are_mapped_or_left_out(tmp_path, data):
    objects = [[square("Katze", (0, 0, 8, 8)), square("sky", (8, 8, 8, 8))]]
    path = write_coco(
        tmp_path / "sam.json", [("/data/upload/1/0123abcd-00.png", (64, 48))], objects
    )
    names = {"Katze": "cat", "sky": "", "skye": ""}
    found = taken(path, data, tmp_path / "in", names=names)
    [warning] = found.manifest.metrics["warnings"]
    assert warning == "--map skye=: no region has this label; did you mean 'sky'?"
    mask = read(found.path, "a/00")
    assert (mask[:8, :8] == 1).all() and (mask == 1).sum() == 64 == (mask != 0).sum()


def test_low_scores_and_classes_against_the_tags_are_left_out(tmp_path, data):
    """Photo a/00 has the tag cat alone."""
    objects = [
        [
            square("cat", (0, 0, 8, 8), score=0.9),
            square("dog", (0, 0, 4, 4), score=0.95),
            square("cat", (20, 20, 8, 8), score=0.1),
        ]
    ]
    path = write_coco(tmp_path / "sam.json", [("a/00.png", (64, 48))], objects)
    found = taken(path, data, tmp_path / "in", min_score=0.5)
    mask = read(found.path, "a/00")
    assert (mask[:4, :4] == 2).all() and (mask == 1).sum() == 48
    metrics = found.manifest.metrics
    assert metrics["left_out"] == {"low_scores": 1, "dropped_pixels": 16, "regions": 2}
    assert "1 mask shows classes that the photo's tags exclude (a/00 (dog))" in " ".join(
        metrics["warnings"]
    )
    found = taken(path, data, tmp_path / "gated", min_score=0.5, gate_by_tags=True)
    mask = read(found.path, "a/00")
    assert (mask[:8, :8] == 1).all() and (mask == 2).sum() == 0
    left_out = found.manifest.metrics["left_out"]
    assert left_out["gated_regions"] == left_out["gated_photos"] == 1
    assert "1 region of 1 photo left out: the photo's tags exclude" in " ".join(
        found.manifest.metrics["warnings"]
    )


def test_regions_without_a_score_are_drawn_with_a_warning(tmp_path, data):
    objects = [[square("cat", (0, 0, 8, 8)), square("cat", (9, 0, 8, 8), score=0.5)]]
    path = write_coco(tmp_path / "sam.json", IMAGES, objects)
    metrics = taken(path, data, tmp_path / "in", min_score=0.95).manifest.metrics
    assert metrics["warnings"] == [
        "1 region with a score below 0.95, left out",
        "1 region has no score, drawn whatever --min-score is",
    ]
    assert metrics["left_out"] == {"regions": 1, "low_scores": 1, "unscored": 1}
    assert taken(path, data, tmp_path / "all").manifest.metrics["warnings"] == []


@pytest.mark.parametrize("score", ["0,9", "90%", "nan", True])
def test_scores_that_are_no_numbers_cant_be_compared(tmp_path, data, score):
    path = write_coco(tmp_path / "sam.json", IMAGES, [[square("cat", (0, 0, 8, 8), score=score)]])
    with pytest.raises(ProblemsError, match=r"the score of a region \(cat\) is no number"):
        taken(path, data, tmp_path / "in", min_score=0.95)
    assert not (tmp_path / "in").exists()
    found = taken(path, data, tmp_path / "in")
    assert (read(found.path, "a/00") == 1).sum() == 64


def test_a_confidence_of_yolo_that_is_no_number(tmp_path, data):
    (tmp_path / "labels/a").mkdir(parents=True)
    (tmp_path / "data.yaml").write_text(f"train: images\nval: images\nnames: {list(NAMES)}\n")
    (tmp_path / "labels/a/00.txt").write_text("0 0 0 0.5 0 0.5 1 0 1 nan")
    assert (read(taken(tmp_path, data, tmp_path / "in").path, "a/00") == 1).sum() == 32 * 48
    with pytest.raises(ProblemsError, match="is no number"):
        taken(tmp_path, data, tmp_path / "other", min_score=0.5)


def test_a_threshold_that_is_no_number_is_refused(tmp_path, data):
    path = write_coco(tmp_path / "sam.json", IMAGES, [[square("cat", (0, 0, 8, 8))]])
    words = ["masks", "import", path, "--data", data.path, "--out", tmp_path / "in", "--drawn"]
    done = invoke(*words, "--min-score", "nan")
    assert done.exit_code != 0 and "nan is no number" in done.stderr


@pytest.mark.parametrize("results", [False, True])
def test_polygons_of_files_without_sizes(tmp_path, data, results):
    """The data has the size of each photo."""
    path = write_coco(tmp_path / "sam.json", IMAGES, [[square("cat", (56, 40, 8, 8))]])
    content = json.loads(path.read_text())
    for image in content["images"]:
        del image["width"], image["height"]
    if results:
        [annotation] = content["annotations"]
        content = [annotation | {"file_name": "a/00.png"}]
    path.write_text(json.dumps(content))
    found = taken(path, data, tmp_path / "in", names={"1": "cat"})
    assert (read(found.path, "a/00")[40:, 56:] == 1).all()


def test_spaces_around_labels_dont_matter(tmp_path, data):
    path = write_coco(
        tmp_path / "sam.json",
        IMAGES,
        [[square("cat ", (0, 0, 8, 8)), square(" Hund", (8, 8, 8, 8))]],
    )
    words = ["masks", "import", path, "--data", data.path, "--out", tmp_path / "in", "--drawn"]
    done = invoke(*words, "--map", "Hund =dog")
    assert done.exit_code == 3, done.stderr  # other photos have no mask
    mask = read(tmp_path / "in", "a/00")
    assert (mask == 1).sum() == (mask == 2).sum() == 64


def test_spaces_around_labels_that_are_folders_dont_matter_to_map(tmp_path, data):
    path = tmp_path / "set/masks/Katze /a/00.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(path)
    found = taken(tmp_path / "set", data, tmp_path / "in", names={"Katze ": "cat"})
    assert (read(found.path, "a/00") == 1).all()
    assert found.manifest.metrics["warnings"] == []


def test_a_label_without_letters_isnt_left_out_silently(tmp_path, data):
    path = write_coco(tmp_path / "sam.json", IMAGES, [[square(" ", (0, 0, 8, 8))]])
    with pytest.raises(ProblemsError, match=r"label '' \(1 region\) is no class"):
        taken(path, data, tmp_path / "in")
