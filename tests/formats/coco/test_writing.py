"""What is written as COCO JSON is read back exactly, by pycocotools and by our reader."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, known, masked_photo, masks
from pycocotools.coco import COCO

from tag2mask.formats.coco.reading import read_coco
from tag2mask.formats.coco.writing import write_coco

NAMES = ["a.jpg", "sub folder/ü 犬.png"]


def coco_mask(api: COCO, image: dict) -> np.ndarray:
    """Return the mask that pycocotools draws, and check area and box of its annotations."""
    drawn = np.zeros((image["height"], image["width"]), np.uint8)
    for annotation in api.loadAnns(api.getAnnIds(imgIds=[image["id"]])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            inside = api.annToMask(annotation).astype(bool)
        assert not drawn[inside].any()  # annotations don't overlap
        drawn[inside] = annotation["category_id"]
        rows, columns = np.nonzero(inside)
        left, top = int(columns.min()), int(rows.min())
        size = [int(columns.max()) - left + 1, int(rows.max()) - top + 1]
        assert annotation["bbox"] == [left, top, *size]
        assert annotation["area"] == inside.sum() and annotation["iscrowd"] == 0
    return drawn


@settings(max_examples=60, deadline=None)
@given(pair=st.tuples(masks(), masks()), polygons=st.booleans(), by_class=st.booleans())
def test_pycocotools_and_our_reader_give_the_mask(tmp_path_factory, pair, polygons, by_class):
    out = tmp_path_factory.mktemp("coco")
    photos = [masked_photo(name, mask) for name, mask in zip(NAMES, pair, strict=True)]
    result = write_coco(photos, CLASSES, out, polygons=polygons, by_class=by_class)
    assert result.photos == 2
    assert result.left_out_pixels == sum(int((mask == 255).sum()) for mask in pair)
    path = out / "annotations" / "instances_train.json"
    api = COCO(str(path))
    for image, mask in zip(api.loadImgs(api.getImgIds()), pair, strict=True):
        assert np.array_equal(coco_mask(api, image), known(mask))
    for photo, name, mask in zip(read_coco(path), NAMES, pair, strict=True):
        assert photo.file_name == name and photo.size == (mask.shape[1], mask.shape[0])
        assert np.array_equal(combined(photo), known(mask))
        assert {region.kind for region in photo.regions} <= {"polygon" if polygons else "mask"}


def test_one_annotation_per_part_or_per_class(tmp_path):
    mask = np.zeros((4, 6), np.uint8)
    mask[0, 0] = mask[1, 1] = mask[3, 5] = 1  # the first two touch by a corner
    mask[0, 1] = 2
    for by_class, count in ((False, 3), (True, 2)):
        write_coco([masked_photo("a.jpg", mask)], CLASSES, tmp_path, by_class=by_class)
        values = json.loads((tmp_path / "annotations/instances_train.json").read_text())
        assert len(values["annotations"]) == count
    names = [category["name"] for category in values["categories"]]
    assert names == list(CLASSES.names) and values["categories"][0]["id"] == 1


def test_one_file_per_split_and_photos_without_objects(tmp_path):
    empty = np.zeros((2, 3), np.uint8)
    photos = [masked_photo(f"{split}.jpg", empty, split) for split in ("train", "val", "train")]
    assert write_coco(photos, CLASSES, tmp_path).photos == 3
    train, val = (
        list(read_coco(tmp_path / f"annotations/instances_{split}.json"))
        for split in ("train", "val")
    )
    assert [photo.regions for photo in train] == [(), ()] and [p.size for p in val] == [(3, 2)]


def test_nothing_is_left_of_an_export_that_fails(tmp_path):
    def photos():
        yield masked_photo("a.jpg", np.ones((2, 2), np.uint8))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_coco(photos(), CLASSES, tmp_path)
    assert not [path for path in Path(tmp_path).rglob("*") if path.is_file()]
