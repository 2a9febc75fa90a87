"""LabelMe's JSON."""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, known, masked_photo, masks
from PIL import Image

from tag2mask.errors import DataError
from tag2mask.formats.labelme.reading import read_labelme, read_labelme_file
from tag2mask.formats.labelme.writing import write_labelme


def png(*size: int, mode: str = "L") -> str:
    buffer = io.BytesIO()
    Image.new(mode, size, "white").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def write_shapes(path, *shapes, **more):
    content = {"version": "5.0.1", "flags": {}, "shapes": list(shapes), "imagePath": "a.jpg"}
    path.write_text(json.dumps({**content, "imageWidth": 8, "imageHeight": 4, **more}))
    return path


@settings(max_examples=60, deadline=None)
@given(pair=st.tuples(masks(), masks()), polygons=st.booleans())
def test_what_is_written_is_read_back(tmp_path_factory, pair, polygons):
    out = tmp_path_factory.mktemp("labelme")
    names = ["a.jpg", "sub folder/b.c ü 犬.png"]
    photos = [masked_photo(name, mask) for name, mask in zip(names, pair, strict=True)]
    result = write_labelme(photos, CLASSES, out, polygons=polygons)
    assert result.photos == 2
    assert result.left_out_pixels == sum(int((mask == 255).sum()) for mask in pair)
    files = [out / "a.json", out / "sub folder/b.c ü 犬.json"]
    for path, name, mask in zip(files, names, pair, strict=True):
        photo = read_labelme_file(path)
        assert photo.file_name == name.rpartition("/")[2] and photo.tags == ()
        assert photo.size == (mask.shape[1], mask.shape[0])
        assert np.array_equal(combined(photo), known(mask))
        assert {region.kind for region in photo.regions} <= {"polygon" if polygons else "mask"}


def test_masks_have_the_points_and_pixels_that_labelme_writes(tmp_path):
    mask = np.zeros((4, 8), np.uint8)
    mask[1:3, 2:7] = 1
    write_labelme([masked_photo("a.jpg", mask)], CLASSES, tmp_path)
    [shape] = json.loads((tmp_path / "a.json").read_text())["shapes"]
    # labelme.utils.shapes_to_label: mask[y1 : y2 + 1, x1 : x2 + 1] = shape["mask"]
    (x1, y1), (x2, y2) = shape["points"]
    image = Image.open(io.BytesIO(base64.b64decode(shape["mask"])))
    assert image.mode == "L" and image.size == (x2 + 1 - x1, y2 + 1 - y1) == (5, 2)
    assert (x1, y1) == (2, 1) and np.asarray(image).all()


def test_flags_and_shapes(tmp_path):
    path = write_shapes(
        tmp_path / "a.json",
        {"label": "dog", "points": [[1, 1], [3, 1], [3, 3], [1, 3]]},
        {"label": "cat", "shape_type": "rectangle", "points": [[0, 0], [2, 2]], "score": 0.5},
        flags={"rain": True, "snow": False},
    )
    photo = read_labelme_file(path)
    assert photo.tags == ("rain",)
    found = [(region.label, region.kind, region.score) for region in photo.regions]
    assert found == [("dog", "polygon", None), ("cat", "box", 0.5)]
    assert photo.regions[0].mask()[1:3, 1:3].all() and photo.regions[0].mask().sum() == 4


MASK = {"label": "dog", "shape_type": "mask", "points": [[6, 0], [7, 1]]}


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ({**MASK, "mask": png(3, 2)}, {}, "3x2 px at 6, 0 are outside of the photo, 8x4"),
        ({**MASK, "mask": png(2, 2, mode="RGB")}, {}, "mode RGB"),
        ({**MASK, "mask": "####"}, {}, "not a mask"),
        ({**MASK, "mask": png(2, 2)[:-60] + "AAAA"}, {}, "damaged shape 1"),
        (MASK, {}, "no mask"),
        ({**MASK, "mask": png(2, 2), "points": [["x", 1]]}, {}, "pairs of numbers"),
        ({"label": "dog", "points": [[0, 0], [1e300, 0], [5, 5]]}, {}, "far outside"),
        ({"label": "dog", "points": [[0, 0], [1, 0], [5, 5]]}, {"imageWidth": None}, "imageWidth"),
        ({"label": "dog", "points": []}, {"imageWidth": 10**9, "imageHeight": 10**9}, "too large"),
    ],
)
def test_damaged_shapes_are_errors_when_drawn(tmp_path, shape, size, message):
    photo = read_labelme_file(write_shapes(tmp_path / "a.json", shape, **size))
    with pytest.raises(DataError, match=f"{message}.*a.json|a.json.*{message}"):
        photo.regions[0].mask()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not LabelMe's JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "no list `shapes`"),
        ('{"shapes": []}', "no `imagePath`"),
        ('{"shapes": [], "imagePath": "a.jpg", "flags": [1]}', "`flags`"),
        ('{"shapes": [{"label": 3}], "imagePath": "a.jpg"}', "shape 1 has no label"),
        ('{"shapes": ["x"], "imagePath": "a.jpg"}', "shape 1 has no label"),
        ('{"shapes": [], "imagePath": "a.jpg", "imageWidth": 0, "imageHeight": 3}', "0 x 3"),
        ('{"shapes": [], "imagePath": "a.jpg", "imageWidth": 1e999}', "too large"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labelme_file(tmp_path / "a.json")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="can't be read"):
        read_labelme_file(tmp_path / "none.json")
    (tmp_path / "many.json").write_text('{"shapes": [' + "{}," * 3_000_000)
    with pytest.raises(DataError, match="more than 5000000 values"):
        read_labelme_file(tmp_path / "many.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(1 << 29)
    with pytest.raises(DataError, match="larger than 256 MiB"):
        read_labelme_file(tmp_path / "large.json")


def test_a_file_that_changes_while_it_is_read(tmp_path):
    shape = {"label": "dog", "points": [[0, 0], [1, 0], [5, 5]]}
    path = write_shapes(tmp_path / "a.json", shape)
    photo = read_labelme_file(path)
    write_shapes(path)
    with pytest.raises(DataError, match="has changed while it was read"):
        photo.regions[0].mask()
    write_shapes(path, {**shape, "label": "cat"})
    with pytest.raises(DataError, match="has changed while it was read"):
        photo.regions[0].mask()
    path.write_text("{")
    with pytest.raises(DataError, match="has changed while it was read"):
        photo.regions[0].mask()


def test_a_folder_of_files(tmp_path):
    (tmp_path / "x/labels").mkdir(parents=True)
    write_shapes(tmp_path / "x/labels/a.json", imagePath="..\\images\\a.jpg")
    write_shapes(tmp_path / "b.json", imagePath="b.jpg")
    (tmp_path / "other.json").write_text('{"shapes": []}')
    assert [photo.file_name for photo in read_labelme(tmp_path)] == ["b.jpg", "x/images/a.jpg"]
    [alone] = read_labelme(tmp_path / "b.json")
    assert alone.file_name == "b.jpg"
    for name in ("c.json", "d.json"):
        (tmp_path / name).write_text('{"version": "5", "flags": {}, "shapes": [')
    photos = read_labelme(tmp_path)
    assert next(photos).file_name == "b.jpg"
    with pytest.raises(DataError, match=r"(?s)c\.json.*d\.json"):
        list(photos)
    with pytest.raises(DataError, match="no file of LabelMe"):
        list(read_labelme(tmp_path / "x/images"))
