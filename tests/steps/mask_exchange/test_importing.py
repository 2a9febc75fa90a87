"""Masks in: exports come back; what does not fit is named before anything is written."""

import json

import numpy as np
import pytest
from coco_files import damaged, square, write_coco
from mask_folders import random_masks, write_images, write_step
from PIL import Image
from pycocotools import mask as coco_mask

from small_runs import NAMES
from tag2mask.artifacts.handles import PseudoMaskFolder
from tag2mask.classes import ClassSet
from tag2mask.data.index import read_index
from tag2mask.errors import DataError, ProblemsError, RunFolderError
from tag2mask.segmentation.labels import pseudo_labeled
from tag2mask.steps.mask_exchange.export import export_masks
from tag2mask.steps.mask_exchange.importing import DRAWN, ImportOptions, import_masks
from tag2mask.steps.mask_exchange.readers import READERS, find_mask_files
from tag2mask.steps.mask_exchange.sources import open_masks
from tag2mask.steps.mask_exchange.targets import TARGETS

CLASSES = ClassSet(NAMES)
KEEPS_IGNORED = ("fiftyone", "huggingface", "ultralytics", "voc")


@pytest.fixture
def masks(data):
    return random_masks(data)


def taken(path, data, out, **options):
    files = find_mask_files(path, CLASSES)
    return import_masks(files, data, ImportOptions(DRAWN, **options), out)


def read(folder, id):
    return np.asarray(Image.open(folder / f"masks/{id}.png"))


@pytest.mark.parametrize("name", sorted({*TARGETS} & {*READERS}))
def test_exported_masks_come_back(tmp_path, data, masks, name):
    source = open_masks(write_step(tmp_path / "predict", masks, data).path)
    export_masks(source, TARGETS[name], tmp_path / "out")
    files = find_mask_files(tmp_path / "out", CLASSES)
    assert files.name == name
    found = import_masks(files, data, ImportOptions("model:SAM 3"), tmp_path / "in")
    for id, mask in masks.items():
        expected = mask if name in KEEPS_IGNORED else np.where(mask == 255, 0, mask)
        np.testing.assert_array_equal(read(found.path, id), expected)
    assert found.manifest.metrics["imported"] == "model:SAM 3"
    assert found.manifest.counts["photos"] == 12 and found.manifest.skipped == ()
    photos = pseudo_labeled(data, PseudoMaskFolder.open(tmp_path / "in"))
    assert len(photos.samples) == 9 and photos.without == []


def test_png_masks_come_in_as_they_are(tmp_path, data, masks):
    folder = write_images(tmp_path / "drawn", masks)
    found = taken(folder, data, tmp_path / "in")
    for id, mask in masks.items():
        np.testing.assert_array_equal(read(found.path, id), mask)
    assert found.manifest.metrics["format"] == "png"
    assert found.manifest.metrics["background_source"] == DRAWN


def test_photos_without_masks_are_skipped_and_a_change_of_the_files_is_noticed(
    tmp_path, data, masks
):
    some = {id: masks[id] for id in list(masks)[:4]}
    folder = write_images(tmp_path / "drawn", some)
    found = taken(folder, data, tmp_path / "in")
    assert len(found.manifest.skipped) == 8
    assert found.manifest.skipped[0].endswith(": no mask was imported")
    assert len(pseudo_labeled(data, found).samples) == len(
        [s for s in read_index(data.path, "train") if s.id in some]
    )
    assert taken(folder, data, tmp_path / "in") == found
    write_images(folder, {"a/00": np.zeros((48, 64), np.uint8)})
    with pytest.raises(RunFolderError, match="input masks: "):
        taken(folder, data, tmp_path / "in")


def test_a_folder_of_other_masks_is_named_with_what_helps(tmp_path, data, masks):
    """Imported masks are no step of a run: no step can be run again."""
    folder = write_images(tmp_path / "drawn", masks)
    taken(folder, data, tmp_path / "in")
    fix = r"\. Give another --out, or delete the folder to import these masks into it\.$"
    with pytest.raises(RunFolderError, match=rf"in another way: min_score: null -> 0\.5 \[.*{fix}"):
        taken(folder, data, tmp_path / "in", min_score=0.5)
    found = write_step(tmp_path / "made", masks, data, PseudoMaskFolder)
    with pytest.raises(RunFolderError, match=f"it holds masks that were made from maps .*{fix}"):
        taken(folder, data, found.path)
    with pytest.raises(RunFolderError, match=r"it holds imported masks.*pseudo-masks --redo"):
        write_step(tmp_path / "in", masks, data, PseudoMaskFolder)


def test_a_changed_list_of_classes_is_noticed(tmp_path, data, masks):
    folder = write_images(tmp_path / "drawn", masks)
    (folder / "classes.txt").write_text("\n".join(NAMES))
    taken(folder, data, tmp_path / "in")
    (folder / "classes.txt").write_text("\n".join(reversed(NAMES)))
    with pytest.raises(RunFolderError, match="input labels: "):
        taken(folder, data, tmp_path / "in")


def test_masks_in_a_folder_that_the_yaml_names_are_found(tmp_path, data, masks):
    source = open_masks(write_step(tmp_path / "predict", masks, data).path)
    out = tmp_path / "out"
    export_masks(source, TARGETS["ultralytics"], out, photo_files="none")
    (out / "masks").rename(out / "drawn")
    text = (out / "data.yaml").read_text()
    (out / "data.yaml").write_text(text.replace("masks_dir: masks", "masks_dir: drawn"))
    found = taken(out, data, tmp_path / "in")
    assert found.manifest.metrics["format"] == "ultralytics"
    for id, mask in masks.items():
        np.testing.assert_array_equal(read(found.path, id), mask)


def test_changed_masks_anywhere_in_a_data_set_are_noticed(tmp_path, data):
    folder = write_images(tmp_path / "set/drawn", {"a/00": np.ones((48, 64), np.uint8)})
    (tmp_path / "set/classes.txt").write_text("\n".join(NAMES))
    line = {"file_name": "a/00.png", "mask_file_name": "drawn/a/00.png"}
    (tmp_path / "set/metadata.jsonl").write_text(json.dumps(line))
    taken(tmp_path / "set", data, tmp_path / "in")
    write_images(folder, {"a/00": np.zeros((48, 64), np.uint8)})
    with pytest.raises(RunFolderError, match="input masks: "):
        taken(tmp_path / "set", data, tmp_path / "in")


def test_everything_that_doesnt_fit_is_named_at_once(tmp_path, data):
    images = [("a/00.png", (64, 48)), ("a/02.png", (9, 9)), ("c/77.png", (64, 48))]
    objects = [[square("cats", (1, 1, 5, 5))], [square("dog", (1, 1, 5, 5))], []]
    path = write_coco(tmp_path / "sam.json", images, objects)
    with pytest.raises(ProblemsError, match="3 problems; nothing was written") as caught:
        taken(path, data, tmp_path / "in")
    assert caught.value.problems == (
        "photo 'a/02' is 64x64 px, in the files 9x9",
        "photo 'c/77.png' is not in the data",
        "label 'cats' (1 region) is no class of the data; did you mean 'cat'?",
    )
    assert not (tmp_path / "in").exists()
    with pytest.raises(ProblemsError) as caught:
        taken(path, data, tmp_path / "in", names={"cats": "dgo"})
    assert (
        "label 'cats' (1 region), 'dgo' by --map, is no class of the data; did you mean 'dog'?"
        in (caught.value.problems)
    )


def test_nothing_is_left_of_masks_that_cant_be_drawn(tmp_path, data):
    """The folder would be one of other files once they are corrected."""
    images = [("a/00.png", (64, 48)), ("b/01.png", (56, 56))]
    right = square("cat", (0, 0, 8, 8))
    path = write_coco(tmp_path / "sam.json", images, [[right], [damaged("dog")]])
    with pytest.raises(ProblemsError, match="1 photo with regions that can't be drawn"):
        taken(path, data, tmp_path / "in")
    assert not (tmp_path / "in").exists()
    write_coco(path, images, [[right], [square("dog", (0, 0, 8, 8))]])
    assert taken(path, data, tmp_path / "in").manifest.counts["photos"] == 2


def test_a_photo_in_several_files_has_the_regions_of_all(tmp_path, data):
    folder = tmp_path / "sam"
    folder.mkdir()
    images = [("a/00.png", (64, 48))]
    write_coco(folder / "1.json", images, [[square("cat", (0, 0, 8, 8))]])
    write_coco(folder / "2.json", images, [[square("dog", (8, 8, 8, 8))]])
    mask = read(taken(folder, data, tmp_path / "in").path, "a/00")
    assert (mask == 1).sum() == (mask == 2).sum() == 64


def write_results(path, results):
    """Write a list of results: squares of 64 px by image id and category id, and their scores."""
    height, width = 48, 64
    found = []
    for image, category, (x, y), score in results:
        mask = np.zeros((height, width), np.uint8)
        mask[y : y + 8, x : x + 8] = 1
        code = coco_mask.encode(np.asfortranarray(mask))
        code = {"size": code["size"], "counts": code["counts"].decode()}
        found.append(
            {"image_id": image, "category_id": category, "segmentation": code, "score": score}
        )
    path.write_text(json.dumps(found))
    return path


RESULTS = [(7, 18, (0, 0), 0.9), (7, 17, (4, 4), 0.4), (7, 18, (40, 40), 0.01)]


def test_results_of_a_model_with_the_json_that_it_was_given(tmp_path, data):
    path = write_results(tmp_path / "results.json", RESULTS)
    listed = tmp_path / "val.json"
    content = {
        "images": [
            {"id": 7, "file_name": "a/00.png", "width": 64, "height": 48},
            {"id": 8, "file_name": "a/02.png", "width": 64, "height": 64},
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": [],
    }
    listed.write_text(json.dumps(content))
    files = find_mask_files(path, CLASSES, lists=[listed])
    assert files.name == "coco-results"
    options = ImportOptions("model:R50", min_score=0.1)
    found = import_masks(files, data, options, tmp_path / "in")
    mask = read(found.path, "a/00")
    assert (mask[:8, :8] == 2).all() and (mask == 1).sum() == 48 and mask[44, 44] == 0
    assert "a/02: no mask was imported" in found.manifest.skipped  # the model may not have seen it
    content["categories"][0]["name"] = "bird"
    listed.write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match="input labels: "):
        import_masks(find_mask_files(path, CLASSES, lists=[listed]), data, options, tmp_path / "in")


def test_results_by_the_names_of_photos(tmp_path, data):
    results = [("a/00", *rest) for _, *rest in RESULTS]
    path = write_results(tmp_path / "results.json", results)
    mask = read(taken(path, data, tmp_path / "in", names={"18": "dog", "17": "cat"}).path, "a/00")
    assert (mask == 2).sum() == 128 and (mask == 1).sum() == 48


def test_results_of_photos_by_number_say_what_is_missing(tmp_path, data):
    path = write_results(tmp_path / "results.json", RESULTS)
    with pytest.raises(ProblemsError) as caught:
        taken(path, data, tmp_path / "in")
    assert "give the JSON that lists them (`images`, `categories`) as --annotations" in str(
        caught.value
    )
    assert caught.value.problems[0] == "photo '7' is not in the data"
    assert "label '18' (2 regions) is no class of the data" in caught.value.problems
    other = write_coco(tmp_path / "sam.json", [("a/00.png", (64, 48))], [[]])
    with pytest.raises(DataError, match="--annotations is for COCO's lists of results"):
        find_mask_files(other, CLASSES, lists=[path])


def test_files_of_several_or_of_no_formats_are_errors(tmp_path, data):
    folder = tmp_path / "mixed"
    folder.mkdir()
    write_coco(folder / "1.json", [("a/00.png", (64, 48))], [[square("cat", (0, 0, 8, 8))]])
    (folder / "annotations.xml").write_text("<annotations></annotations>")
    with pytest.raises(DataError, match=r"several formats: coco, cvat .*--format"):
        find_mask_files(folder, CLASSES)
    assert find_mask_files(folder, CLASSES, of="coco").name == "coco"
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="masks of no known format"):
        find_mask_files(tmp_path / "x.json", CLASSES)
    with pytest.raises(DataError, match="no masks of the format labelme"):
        find_mask_files(folder, CLASSES, of="labelme")
    with pytest.raises(DataError, match="no such file or folder of masks"):
        find_mask_files(tmp_path / "nowhere", CLASSES)


def test_files_drawn_beside_the_photos_of_a_table_of_tags(tmp_path, data, masks):
    source = open_masks(write_step(tmp_path / "predict", masks, data).path)
    photos = tmp_path / "photos"
    export_masks(source, TARGETS["labelme"], tmp_path / "out", photo_files="none")
    for file in (tmp_path / "out").rglob("*.json"):
        file.rename(photos / file.relative_to(tmp_path / "out"))
    assert (photos / "tags.csv").is_file()
    assert find_mask_files(photos, CLASSES).name == "labelme"
    found = taken(photos, data, tmp_path / "in")
    for id, mask in masks.items():
        np.testing.assert_array_equal(read(found.path, id), np.where(mask == 255, 0, mask))


def test_polygons_of_yolo_need_no_photos_beside_them(tmp_path, data, masks):
    source = open_masks(write_step(tmp_path / "predict", masks, data).path)
    export_masks(source, TARGETS["yolo"], tmp_path / "out", photo_files="none")
    found = taken(tmp_path / "out", data, tmp_path / "in")
    for id, mask in masks.items():
        np.testing.assert_array_equal(read(found.path, id), np.where(mask == 255, 0, mask))
