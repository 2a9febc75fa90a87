"""Layout coco: which JSON is read, tags, splits, and every problem by name."""

import json
from pathlib import Path

import pytest
from data_folders import box, coco_annotation, write_coco, write_photo
from PIL import Image

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.coco.reader import is_coco, read_coco
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.errors import DataError


def _two_splits(root: Path, train: str = "train2017", val: str = "val2017") -> None:
    write_coco(
        root,
        train,
        {1: "0001.jpg", 2: "0002.jpg"},
        [coco_annotation(1, 7, box(0, 0, 4, 4)), coco_annotation(1, 3, box(6, 0, 2, 2))],
        folder=f"images/{train}",
    )
    write_coco(
        root, val, {1: "0001.jpg"}, [coco_annotation(1, 7, box(0, 0, 4, 4))], folder=f"images/{val}"
    )


def test_tags_and_splits(tmp_path):
    _two_splits(tmp_path)
    assert is_coco(tmp_path)
    found = read_coco(tmp_path, SourceOptions())
    assert found.problems == () and found.class_names == ("traffic light", "dog")
    assert [(e.id, e.split, e.tags) for e in found.entries] == [
        ("train2017/0001", "train", ("traffic light", "dog")),
        ("train2017/0002", "train", ()),
        ("val2017/0001", "val", ("dog",)),
    ]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("annotations/instances_train.json", "train"),
        ("annotations/train.json", "images"),
        ("train/_annotations.coco.json", "train"),
        ("instances.json", ""),
        ("annotations/anything.json", "images"),
        ("result.json", "images"),
        ("labels.json", "data"),
        ("annotations/train_annotations.json", "train"),
    ],
)
def test_places_of_json_and_photos(tmp_path, name, folder):
    write_coco(
        tmp_path,
        "train",
        {5: "sub/a.jpg"},
        [coco_annotation(5, 7, box(0, 0, 2, 2))],
        folder=folder,
        name=name,
    )
    found = read_coco(tmp_path, SourceOptions())
    assert found.problems == ()
    [entry] = found.entries
    assert entry.split == "train" and entry.tags == ("dog",)
    assert (tmp_path / entry.image).is_file() and entry.id.endswith("sub/a")


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
        ("annotations/instances_training.json", "annotations/instances_validation.json"),
        ("annotations/training2017.json", "annotations/valid2017.json"),
    ],
)
def test_usual_names_of_splits(tmp_path, train, val):
    for name, photo in ((train, "a.jpg"), (val, "b.jpg"), ("test/_annotations.coco.json", "c.jpg")):
        folder = Path(name).parent.name.replace("annotations", "images")
        annotations = [coco_annotation(1, 7, box(0, 0, 2, 2))]
        write_coco(tmp_path, "", {1: photo}, annotations, folder=folder, name=name)
    found = read_coco(tmp_path, SourceOptions())
    assert found.problems == ()
    assert [entry.split for entry in found.entries] == ["train", "val"]


def test_the_name_of_a_split_itself_comes_first(tmp_path):
    for split in ("train", "val", "valid"):
        annotations = [coco_annotation(1, 7, box(0, 0, 2, 2))]
        write_coco(tmp_path, split, {1: f"{split}.jpg"}, annotations, folder="images")
    found = read_coco(tmp_path, SourceOptions())
    assert [Path(entry.image).stem for entry in found.entries] == ["train", "val"]
    assert ["instances_valid.json" in problem.message for problem in found.problems] == [True]
    other = read_coco(tmp_path, SourceOptions(val_split="valid"))
    assert [Path(entry.image).stem for entry in other.entries] == ["train", "valid"]


@pytest.mark.parametrize(
    "name", ["valid/_annotations.coco.json", "annotations/instances_validation.json"]
)
def test_a_single_json_is_for_training_whatever_its_usual_name(tmp_path, name):
    annotations = [coco_annotation(1, 7, box(0, 0, 2, 2))]
    folder = "valid" if name.startswith("valid") else "images"
    write_coco(tmp_path, "", {1: "a.jpg"}, annotations, folder=folder, name=name)
    found = read_coco(tmp_path, SourceOptions())
    assert found.problems == () and [entry.split for entry in found.entries] == ["train"]
    asked = read_coco(tmp_path, SourceOptions(train_split=Path(name).parent.name))
    assert [entry.split for entry in asked.entries] == ["train"]


def test_a_file_is_of_one_split(tmp_path):
    for split in ("train", "valid"):
        annotations = [coco_annotation(1, 7, box(0, 0, 2, 2))]
        write_coco(tmp_path, split, {1: f"{split}.jpg"}, annotations, folder="images")
    found = read_coco(tmp_path, SourceOptions(train_split="valid"))
    assert [(Path(e.image).stem, e.split) for e in found.entries] == [("valid", "train")]


def test_of_several_usual_names_none_counts(tmp_path):
    for split in ("train", "valid", "dev"):
        annotations = [coco_annotation(1, 7, box(0, 0, 2, 2))]
        write_coco(tmp_path, split, {1: f"{split}.jpg"}, annotations, folder="images")
    found = read_coco(tmp_path, SourceOptions())
    assert [entry.split for entry in found.entries] == ["train"]
    [problem] = found.problems
    assert problem.warning and "instances_dev.json" in problem.message


@pytest.mark.parametrize("others", [(), ("val",)])
def test_the_split_test_is_not_for_training(tmp_path, others):
    for split in ("test", *others):
        annotations = [coco_annotation(1, 7, box(0, 0, 2, 2))]
        write_coco(tmp_path, split, {1: f"{split}.jpg"}, annotations, folder="images")
    with pytest.raises(DataError, match="no JSON for split 'train'"):
        read_coco(tmp_path, SourceOptions())
    found = read_coco(tmp_path, SourceOptions(train_split="test"))
    assert [entry.split for entry in found.entries] == ["train", *others]


def test_a_list_of_ids_splits_one_json(tmp_path):
    write_coco(
        tmp_path,
        "",
        {1: "a.jpg", 2: "b.jpg"},
        [coco_annotation(1, 7, box(0, 0, 2, 2))],
        name="annotations.json",
    )
    (tmp_path / "held-out.txt").write_text("b\n")
    found = read_coco(tmp_path, SourceOptions(val_split="held-out.txt"))
    assert [(e.id, e.split) for e in found.entries] == [("a", "train"), ("b", "val")]


def test_boxes_without_outlines_give_tags_but_no_mask(tmp_path):
    write_coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [coco_annotation(1, 7, []), coco_annotation(2, 3, box(0, 0, 3, 3))],
    )
    found = read_coco(tmp_path, SourceOptions())
    assert {e.id: bool(e.mask_stamp) for e in found.entries} == {"a": False, "b": True}
    assert found.entries[0].tags == ("dog",)


def test_a_changed_outline_changes_the_masks_stamp(tmp_path):
    stamps = []
    for side in (3, 4):
        write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, box(0, 0, side, 3))])
        stamps.append(read_coco(tmp_path, SourceOptions()).entries[0].mask_stamp)
    assert stamps[0] != stamps[1]


def test_a_category_that_becomes_background_changes_the_masks_stamp(tmp_path):
    stamps = []
    for name in ("ignore", "background"):
        path = write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, box(0, 0, 3, 3))])
        values = json.loads(path.read_text())
        values["categories"].append({"id": 9, "name": name})
        path.write_text(json.dumps(values))
        found = read_coco(tmp_path, SourceOptions())
        stamps.append((found.class_names, found.entries[0].mask_stamp))
    assert stamps[0][0] == stamps[1][0] and stamps[0][1] != stamps[1][1]


def test_items_that_cannot_be_read_say_how_to_fix_them(tmp_path):
    path = write_coco(
        tmp_path,
        "train",
        {1: "a.jpg"},
        [
            {"id": 4, "image_id": 1},
            coco_annotation(77, 7, []),
            {"image_id": None, "category_id": 7},
        ],
    )
    path.write_text(path.read_text().replace('"height": 8', '"height": 1e999'))
    messages = [p.message.partition(": ")[2] for p in read_coco(tmp_path, SourceOptions()).problems]
    assert messages[0] == (
        "annotations item 1 lacks the key 'category_id'; add it, or remove the item"
    )
    assert "item 3 is damaged" in messages[1] and "fix or remove it" in messages[1]
    assert "images item 1 is damaged: its height is inf, not a number of pixels" in messages[2]
    assert "list them there, or remove their annotations" in messages[3]


def test_all_problems_of_the_lists_are_named(tmp_path):
    write_coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "../b.jpg", 3: "/c.jpg", 4: "gone.jpg"},
        [coco_annotation(1, 99, []), coco_annotation(77, 7, []), {"id": 4}],
        photos=False,
    )
    Image.new("RGB", (10, 8)).save(tmp_path / "a.jpg")
    found = read_coco(tmp_path, SourceOptions())
    messages = " | ".join(p.message for p in found.problems)
    for part in (
        "leads out of the data folder",
        "is absolute",
        "'gone' does not exist",
        "unknown categories: 99",
        "annotations of 1 photo that",
        "annotations item 3",
    ):
        assert part in messages, part
    assert [e.id for e in found.entries] == ["a", "gone"]


@pytest.mark.parametrize("size", [{}, {"width": None, "height": None}, {"width": 0}])
def test_a_missing_size_is_that_of_the_photo(tmp_path, size):
    path = write_coco(
        tmp_path, "train", {1: "a.jpg", 2: "b.jpg"}, [coco_annotation(1, 7, box(0, 0, 2, 2))]
    )
    values = json.loads(path.read_text())
    for side in ("width", "height"):
        del values["images"][0][side]
    values["images"][0] |= size
    path.write_text(json.dumps(values))
    report = check_data(tmp_path)
    assert report.errors == () and report.masks == 2 and "mask" not in " ".join(report.warnings)
    found = read_coco(tmp_path, SourceOptions())
    assert (found.mask_drawer.draw("a", (8, 10)) == 2).sum() == 4


def test_ids_may_be_text(tmp_path):
    path = write_coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [coco_annotation(1, 7, box(0, 0, 2, 2)), coco_annotation(2, 3, box(0, 0, 2, 2))],
    )
    values = json.loads(path.read_text())
    for item in values["images"]:
        item["id"] = f"img_{item['id']}"
    for item in values["annotations"]:
        item["image_id"] = f"img_{item['image_id']}"
        item["category_id"] = {7: "7", 3: "sign"}[item["category_id"]]
    values["categories"][1]["id"] = "sign"
    path.write_text(json.dumps(values))
    found = read_coco(tmp_path, SourceOptions())
    assert found.problems == () and found.class_names == ("dog", "traffic light")
    assert [entry.tags for entry in found.entries] == [("dog",), ("traffic light",)]
    assert found.mask_drawer.draw("b", (8, 10)).max() == 2


@pytest.mark.parametrize("value", [None, [1], 1.5, True, ""])
def test_ids_of_other_kinds_are_named(tmp_path, value):
    path = write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, box(0, 0, 2, 2))])
    values = json.loads(path.read_text())
    values["images"][0]["id"] = value
    path.write_text(json.dumps(values))
    first = read_coco(tmp_path, SourceOptions()).problems[0]
    assert f"the id {value!r} is neither a number nor text" in first.message


def test_a_validation_file_may_be_empty(tmp_path):
    write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, box(0, 0, 2, 2))])
    write_coco(tmp_path, "val", {}, [])
    found = read_coco(tmp_path, SourceOptions())
    [problem] = found.problems
    assert problem.warning and "instances_val.json has no images" in problem.message
    assert [entry.split for entry in found.entries] == ["train"]


def test_a_crowd_alone_on_its_photo_needs_no_advice(tmp_path):
    crowd = {"size": [8, 10], "counts": [20, 30, 30]}
    annotations = [coco_annotation(1, 7, crowd, iscrowd=1), coco_annotation(2, 3, box(0, 0, 2, 2))]
    write_coco(tmp_path, "train", {1: "a.jpg", 2: "b.jpg"}, annotations)
    report = check_data(tmp_path)
    assert report.errors == () and report.masks == 2 and "mask" not in " ".join(report.warnings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cut off"),
        ("[]", "'{' expected"),
        ('{"images": [', "cut off"),
        ('{"images": [{"id": 1 "x"', "not JSON"),
        ('{"images": []}', "no images"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}]}', "no categories"),
    ],
)
def test_files_that_are_not_coco_json(tmp_path, text, message):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train.json").write_text(text)
    with pytest.raises(DataError, match=r"instances_train\.json") as caught:
        read_coco(tmp_path, SourceOptions())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ['{"a": 1}', "[]", "", '{"images": []}', '[{"images": [], "categories": []}]']
)
def test_other_json_is_not_coco(tmp_path, text):
    for name in ("annotations.json", "labels.json", "annotations/a.json"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert not is_coco(tmp_path)
    (tmp_path / "annotations/instances_train.json").write_text(text)
    assert is_coco(tmp_path)  # named like COCO's, so it is damaged


def test_one_json_per_photo_is_not_coco(tmp_path):
    for number in range(60):
        write_coco(tmp_path, "", {1: "a.jpg"}, [], name=f"{number}.json")
    assert not is_coco(tmp_path)


def test_which_json(tmp_path):
    with pytest.raises(DataError, match="no COCO JSON"):
        read_coco(tmp_path, SourceOptions())
    _two_splits(tmp_path)
    with pytest.raises(DataError, match="no JSON for split 'trian'"):
        read_coco(tmp_path, SourceOptions(train_split="trian", val_split=None))
    write_coco(tmp_path, "train2014", {}, [])
    with pytest.raises(DataError, match="several JSON files for split 'train'"):
        read_coco(tmp_path, SourceOptions())
    assert len(read_coco(tmp_path, SourceOptions("train2017", "val2017")).entries) == 3


_NOT_CLASSES = [
    [{"id": 0, "name": "_background_"}],
    [{"id": 0, "name": "Background"}, {"id": 9, "name": "__ignore__"}],
    [{"id": 5, "name": "no_label"}],
    [{"id": 0, "name": "animals", "supercategory": "none"}],
    [{"id": 4, "name": "signs"}],
    [{"id": 4, "name": "none"}, {"id": 8, "name": "N/A"}],
]


@pytest.mark.parametrize("others", _NOT_CLASSES)
def test_categories_that_are_not_classes(tmp_path, others):
    path = write_coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [coco_annotation(1, 7, box(0, 0, 4, 4)), coco_annotation(2, 3, box(6, 0, 2, 2))],
    )
    values = json.loads(path.read_text())
    values["categories"][1]["supercategory"] = "signs"
    values["categories"] += others
    path.write_text(json.dumps(values))
    found = read_inventory(tmp_path)
    assert found.problems == () and found.class_names == ("traffic light", "dog")
    assert [entry.tags for entry in found.entries] == [("dog",), ("traffic light",)]
    assert found.mask_drawer.draw("b", (8, 10)).max() == 1


def test_objects_of_no_class_are_drawn_as_background_or_ignored(tmp_path):
    path = write_coco(
        tmp_path,
        "train",
        {1: "a.jpg"},
        [
            coco_annotation(1, 7, box(0, 0, 8, 8)),
            coco_annotation(1, 0, box(0, 0, 2, 2)),
            coco_annotation(1, 9, box(8, 0, 2, 2)),
        ],
    )
    values = json.loads(path.read_text())
    values["categories"] += [{"id": 0, "name": "background"}, {"id": 9, "name": "ignore"}]
    path.write_text(json.dumps(values))
    found = read_inventory(tmp_path)
    assert found.class_names == ("traffic light", "dog") and found.entries[0].tags == ("dog",)
    assert found.mask_drawer.draw("a", (8, 10))[0].tolist() == [0, 0, 2, 2, 2, 2, 2, 2, 255, 255]
    assert [problem.warning for problem in found.problems] == [True]


def test_an_annotated_category_is_a_class_even_if_its_name_is_doubtful(tmp_path):
    path = write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 0, box(0, 0, 8, 8))])
    values = json.loads(path.read_text())
    values["categories"] = [{"id": 0, "name": "OK", "supercategory": "none"}]
    path.write_text(json.dumps(values))
    found = read_inventory(tmp_path)
    assert found.class_names == ("OK",) and found.entries[0].tags == ("OK",)


def test_addresses_of_label_studio(tmp_path):
    names = {
        1: "../../label-studio/data/media/upload/1/1f0e2d3c-a.jpg",
        2: "images/2/1f0e2d3c-b.jpg",
        3: "/data/local-files/?d=photos%2Fc.jpg",
        4: "images\\1f0e2d3c-d.jpg",
        5: "/z/gone.jpg",
        6: "/z/e.jpg",
    }
    write_coco(tmp_path, "train", names, [coco_annotation(1, 7, [])], photos=False)
    for name in ("a", "x/b", "photos/c", "1f0e2d3c-d", "x/e", "y/e"):
        write_photo(tmp_path / f"images/{name}.jpg", (10, 8))
    found = read_coco(tmp_path, SourceOptions())
    assert [entry.image for entry in found.entries] == [
        f"images/{name}.jpg" for name in ("a", "x/b", "photos/c", "1f0e2d3c-d")
    ]
    errors = [problem.message for problem in found.problems if not problem.warning]
    assert len(errors) == 2 and "'/z/gone.jpg' is absolute" in errors[0]
    assert "'/z/e.jpg' is absolute" in errors[1]
