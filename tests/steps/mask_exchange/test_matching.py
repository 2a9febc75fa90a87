"""Which photos of other tools' files have masks, and which of the data they are."""

import json

import numpy as np
import pytest
from mask_folders import write_images, write_step

from small_runs import NAMES, invoke, prepared, write_table
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.folder import read_corrections
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError, RunFolderError
from tag2mask.steps.mask_exchange.export import export_masks
from tag2mask.steps.mask_exchange.importing import DRAWN, ImportOptions, import_masks
from tag2mask.steps.mask_exchange.readers import READERS, find_mask_files
from tag2mask.steps.mask_exchange.sources import open_masks
from tag2mask.steps.mask_exchange.targets import TARGETS

CLASSES = ClassSet(NAMES)
MASK = np.ones((48, 64), np.uint8)
MASKED, UNMASKED = "a/00", "b/01"
"""Ids of photos of the data; the files label both, with pixels of the first alone."""
_SIZE = {"original_width": 64, "original_height": 48}
_CORNERS = [[0, 0], [50, 0], [50, 50], [0, 50]]


def taken(path, data, out, **options):
    return import_masks(find_mask_files(path, CLASSES), data, ImportOptions(DRAWN, **options), out)


def _voc(root):
    (root / "classes.txt").write_text("\n".join(NAMES))
    write_images(root / "SegmentationClass", {MASKED: MASK})
    for id in (MASKED, UNMASKED):
        path = root / f"Annotations/{id}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<annotation><object><name>dog</name></object></annotation>")


def _huggingface(root):
    (root / "classes.txt").write_text("\n".join(NAMES))
    write_images(root / "masks", {MASKED: MASK})
    rows = [
        {"file_name": f"{MASKED}.png", "tags": ["cat"], "mask_file_name": f"masks/{MASKED}.png"},
        {"file_name": f"{UNMASKED}.png", "tags": ["dog"], "mask_file_name": None},
    ]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def _labelstudio(root):
    polygon = {"value": {"points": _CORNERS, "polygonlabels": ["cat"]}, **_SIZE}
    choices = {"value": {"choices": ["dog"]}}
    tasks = [
        {"id": 1, "data": {"image": f"{id}.png"}, "annotations": [{"result": [item]}]}
        for id, item in ((MASKED, polygon), (UNMASKED, choices))
    ]
    (root / "tasks.json").write_text(json.dumps(tasks))


def _mvtec(root):
    for name, id in (("train/good", "a/04"), ("test/cat", MASKED), ("test/cat", UNMASKED)):
        write_images(root / name, {id.partition("/")[2]: MASK})
    write_images(root / "ground_truth/cat", {"00_mask": MASK})


def _yolo(root):
    (root / "data.yaml").write_text(f"train: images\nval: images\nnames: {list(NAMES)}\n")
    for id, line in ((MASKED, "0 0 0 0.5 0 0.5 0.5 0 0.5"), (UNMASKED, "1 0.5 0.5 0.1 0.1")):
        path = root / f"labels/{id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line)


@pytest.mark.parametrize("write", [_voc, _huggingface, _labelstudio, _mvtec, _yolo])
def test_a_labeled_photo_without_pixels_has_no_mask(tmp_path, data, write):
    """It isn't background, whatever the format: as truth it would be wrong everywhere."""
    root = tmp_path / "set"
    root.mkdir()
    write(root)
    found = taken(root, data, tmp_path / "in")
    assert (found.path / f"masks/{MASKED}.png").is_file()
    assert not (found.path / f"masks/{UNMASKED}.png").exists()
    assert f"{UNMASKED}: its labels have no pixels" in found.manifest.skipped
    assert "a/02: no mask was imported" in found.manifest.skipped
    metrics = found.manifest.metrics
    assert metrics["left_out"]["photos_without_pixels"] == 1
    assert metrics["warnings"] == [
        "1 photo has a label without pixels, such as a box or a tag, left out: b/01"
    ]


def test_a_photo_without_pixels_isnt_corrected(tmp_path, data):
    root, out = tmp_path / "set", tmp_path / "corrections"
    root.mkdir()
    _yolo(root)
    done = invoke("masks", "import", root, "--data", data.path, "--out", out, "--drawn")
    assert done.exit_code == 0, done.output
    assert "left out: b/01" in done.output and "1 photo corrected" in done.output
    assert [*read_corrections(out).decisions] == [MASKED]


def test_files_without_any_pixels_are_an_error(tmp_path, data):
    _yolo(tmp_path)
    (tmp_path / f"labels/{MASKED}.txt").unlink()
    with pytest.raises(DataError, match="no masks in these files: the labels of 1 photo have no"):
        taken(tmp_path, data, tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_labels_without_pixels_count_as_the_class_they_are_mapped_to(tmp_path, data):
    """A label that is left out, or no class, says nothing; other regions may show a class."""
    polygon = {"value": {"points": _CORNERS, "polygonlabels": ["Katze"]}, **_SIZE}
    tasks = [
        {"id": 1, "data": {"image": f"{id}.png"}, "annotations": [{"result": results}]}
        for id, results in (
            (MASKED, [{"value": {"choices": ["cat", "blurry", "sky"]}}, polygon]),
            (UNMASKED, [{"value": {"width": 1, "rectanglelabels": ["sky"]}}]),
            ("a/02", [{"value": {"choices": ["Katze"]}}]),
            ("b/03", []),
        )
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    found = taken(tmp_path / "tasks.json", data, tmp_path / "in", names={"Katze": "cat", "sky": ""})
    written = {id for id in (MASKED, UNMASKED, "a/02", "b/03") if f"{id}.png" in _names(found)}
    assert written == {MASKED, UNMASKED, "b/03"}
    assert "a/02: its labels have no pixels" in found.manifest.skipped


def _names(folder):
    masks = folder.path / "masks"
    return {path.relative_to(masks).as_posix() for path in masks.rglob("*.png")}


def test_a_change_of_what_has_no_pixels_is_noticed(tmp_path, data):
    """VOC's XML isn't among the files of masks whose content is compared."""
    root = tmp_path / "set"
    root.mkdir()
    _voc(root)
    taken(root, data, tmp_path / "in")
    (root / f"Annotations/{UNMASKED}.xml").unlink()
    with pytest.raises(RunFolderError, match="input labels: "):
        taken(root, data, tmp_path / "in")


@pytest.mark.parametrize("name", sorted({*TARGETS} & {*READERS}))
def test_an_export_comes_back_on_its_own_photo(tmp_path, name):
    """Exports put photos into folders, whose names those of the data may have, too."""
    masks = {"a": MASK, "images/a": 2 * MASK, "train/a": 3 * MASK, "train/images/a": MASK}
    for id in masks:
        write_images(tmp_path / "photos", {id: MASK})
    write_table(tmp_path / "photos", [[f"{id}.png", "cat", "train"] for id in masks])
    (tmp_path / "photos/classes.txt").write_text("\n".join(NAMES))
    data = prepared(tmp_path / "photos", tmp_path / "prepare")
    for id, mask in masks.items():
        source = open_masks(write_step(tmp_path / f"{id}-step", {id: mask}, data).path)
        export_masks(source, TARGETS[name], tmp_path / f"{id}-out")
        assert _names(taken(tmp_path / f"{id}-out", data, tmp_path / f"{id}-in")) == {f"{id}.png"}


@pytest.mark.parametrize("name", sorted({*TARGETS} & {*READERS}))
def test_an_export_comes_back_where_ids_are_no_paths(tmp_path, name):
    """As in COCO's layout, where the id of ``images/a.png`` is ``a``."""
    photos = tmp_path / "photos"
    write_images(photos / "images", {"a": MASK, "x/a": MASK})
    size = {"width": MASK.shape[1], "height": MASK.shape[0]}
    images = [{"id": 1, "file_name": "a.png", **size}, {"id": 2, "file_name": "x/a.png", **size}]
    named = [{"id": number, "name": text} for number, text in enumerate(NAMES)]
    box = [{"id": n, "image_id": n, "category_id": 0, "bbox": [0, 0, 2, 2]} for n in (1, 2)]
    (photos / "annotations").mkdir()
    (photos / "annotations/instances_train.json").write_text(
        json.dumps({"images": images, "annotations": box, "categories": named})
    )
    data = prepared(photos, tmp_path / "prepare")
    source = open_masks(write_step(tmp_path / "step", {"a": MASK}, data).path)
    export_masks(source, TARGETS[name], tmp_path / "out")
    assert _names(taken(tmp_path / "out", data, tmp_path / "in")) == {"a.png"}


def test_folders_behind_links_are_read(tmp_path, data):
    root = tmp_path / "set"
    write_images(root / "masks/cat", {MASKED: 0 * MASK})
    write_images(tmp_path / "elsewhere", {MASKED: 255 * MASK})
    (root / "masks/dog").symlink_to(tmp_path / "elsewhere")
    found = taken(root, data, tmp_path / "in")
    assert found.manifest.metrics["format"] == "binary"
    mask = read_mask(found.path / f"masks/{MASKED}.png", len(NAMES))
    assert (mask == 1 + NAMES.index("dog")).all()
    write_images(tmp_path / "elsewhere", {MASKED: 0 * MASK})
    with pytest.raises(RunFolderError, match="input masks: "):
        taken(root, data, tmp_path / "in")
