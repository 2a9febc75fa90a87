"""VOC's masks, with CVAT's list of classes and colors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, known, masked_photo, masks
from PIL import Image

from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.errors import DataError
from tag2mask.formats.voc.reading import read_voc
from tag2mask.formats.voc.writing import write_voc

NAMED = ClassSet(("dog", "traffic light", "犬 <&>"))
MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:1,2,3::\ncat:250,0,9:head,tail:\n"


@settings(max_examples=50, deadline=None)
@given(pair=st.tuples(masks(), masks()), void=st.sampled_from(["ignore", "background"]))
def test_what_is_written_is_read_back(tmp_path_factory, pair, void):
    out = tmp_path_factory.mktemp("voc")
    names = ["a.jpg", "sub folder/b.c ü 犬.png"]
    photos = [
        masked_photo(name, mask, split)
        for name, mask, split in zip(names, pair, ("train", "val"), strict=True)
    ]
    result = write_voc(photos, NAMED, out, void=void)
    ignored = sum(int((mask == 255).sum()) for mask in pair)
    assert result.photos == 2
    assert result.left_out_pixels == (ignored if void == "background" else 0)
    assert bool(result.notes) == (ignored > 0 and void == "ignore")
    for photo, name, mask, split in zip(read_voc(out), names, pair, ("train", "val"), strict=True):
        assert photo.file_name == name.rpartition(".")[0] and photo.split == split
        expected = mask if void == "ignore" else known(mask)
        assert np.array_equal(combined(photo, NAMED), expected)


def test_masks_lists_and_colors_are_those_of_voc(tmp_path):
    mask = np.array([[0, 1, 20, 255]], np.uint8)
    write_voc([masked_photo("a.jpg", mask)], ClassSet(VOC_NAMES), tmp_path)
    image = Image.open(tmp_path / "SegmentationClass/a.png")
    assert image.mode == "P" and np.array_equal(np.asarray(image), mask)
    colors = np.asarray(image.convert("RGB"))[0].tolist()
    assert colors == [[0, 0, 0], [128, 0, 0], [0, 64, 128], [224, 224, 192]]
    lines = (tmp_path / "labelmap.txt").read_text().splitlines()
    assert lines[1:3] == ["background:0,0,0::", "aeroplane:128,0,0::"] and len(lines) == 22
    assert (tmp_path / "ImageSets/Segmentation/train.txt").read_text() == "a\n"


@pytest.mark.parametrize("name", ["a:b", "#a", " a"])
def test_classes_that_the_list_cannot_hold(tmp_path, name):
    with pytest.raises(DataError, match="can't hold the class"):
        write_voc([], ClassSet(("dog", name)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_photos_that_the_lists_cannot_hold(tmp_path):
    photo = masked_photo("a\nb.jpg", np.zeros((1, 1), np.uint8))
    with pytest.raises(DataError, match="can't hold the name"):
        write_voc([photo], CLASSES_WITHOUT_COLON, tmp_path)
    with pytest.raises(DataError, match="unknown value 'x'"):
        write_voc([], CLASSES_WITHOUT_COLON, tmp_path, void="x")


CLASSES_WITHOUT_COLON = ClassSet(("dog",))
assert ":" in "".join(CLASSES.names)


def write_image(root, mode, values, palette=None):
    path = root / "SegmentationClass/a.png"
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(np.array(values, np.uint8), mode if mode != "P" else "L")
    if palette:
        image.putpalette(palette)
    image.save(path)


def labels_of(root):
    [photo] = read_voc(root)
    return {region.label: region.mask().tolist() for region in photo.regions}


@pytest.mark.parametrize(
    ("mode", "values", "palette"),
    [
        ("RGB", [[[0, 0, 0], [250, 0, 9], [224, 224, 192]]], None),
        ("P", [[0, 1, 2]], [0, 0, 0, 250, 0, 9, 224, 224, 192]),  # values in another order
        ("P", [[0, 2, 255]], [7, 7, 7] * 256),  # colors of no label: by value
        ("L", [[0, 2, 255]], None),
    ],
)
def test_masks_of_colors_and_of_values(tmp_path, mode, values, palette):
    (tmp_path / "labelmap.txt").write_text(MAP)
    write_image(tmp_path, mode, values, palette)
    assert labels_of(tmp_path) == {"cat": [[False, True, False]], "ignore": [[False, False, True]]}


@pytest.mark.parametrize(
    ("mode", "values"),
    [("RGB", [[[0, 0, 0], [1, 2, 3]]]), ("L", [[0, 1]]), ("P", [[0, 1]])],
)
def test_a_background_that_is_not_listed_is_the_first_label(tmp_path, mode, values):
    (tmp_path / "labelmap.txt").write_text("dog:1,2,3::\ncat:250,0,9::\n")
    write_image(tmp_path, mode, values)
    assert labels_of(tmp_path) == {"dog": [[False, True]]}


def test_colors_in_any_order_of_the_labels(tmp_path):
    (tmp_path / "labelmap.txt").write_text("dog:1,1,1::\nbackground:0,0,0::\n")
    write_image(tmp_path, "L", [[0, 1]])  # gray values that are listed as colors
    assert labels_of(tmp_path) == {"dog": [[False, True]]}


def test_labels_of_a_class_list_and_of_voc(tmp_path):
    write_image(tmp_path, "L", [[0, 1]])
    assert labels_of(tmp_path) == {"aeroplane": [[False, True]]}
    for text in ("dog\ncat\n", "background\ndog\ncat\n"):
        (tmp_path / "classes.txt").write_text(text)
        assert labels_of(tmp_path) == {"dog": [[False, True]]}


@pytest.mark.parametrize(
    ("labels", "mode", "values", "message"),
    [
        (MAP, "RGB", [[[9, 9, 9]]], r"color \(9, 9, 9\) of no label"),
        (MAP, "L", [[3]], r"value 3, color \(3, 3, 3\), of no label; there are 3"),
        ("dog:1,2::\n", "L", [[0]], "'1,2' is no color"),
        ("dog:1,2,300::\n", "L", [[0]], "'1,2,300' is no color"),
        ("# nothing\n", "L", [[0]], "lists no label"),
        ("dog:::\ndog:::\n", "L", [[0]], "listed twice"),
        ("".join(f"c{n}:::\n" for n in range(256)), "L", [[0]], "256 labels, more than the 255"),
        ("background:::\ndog:::\n", "RGB", [[[9, 9, 9]]], "no list says which color"),
        (
            "dog:1,2,3::\nbackground:0,0,0::\n",
            "L",
            [[0, 1]],
            "whose first label is not the background: 0 may mean the background or 'dog'",
        ),
        ("dog:::\nbackground:::\n", "P", [[0, 1]], "first label is not the background"),
        ("dog:0,0,0::\ncat:9,9,9::\n", "L", [[0, 1]], "first label is not the background"),
    ],
)
def test_masks_and_lists_that_do_not_fit(tmp_path, labels, mode, values, message):
    (tmp_path / "labelmap.txt").write_text(labels)
    write_image(tmp_path, mode, values)
    with pytest.raises(DataError, match=f"(?s){message}"):
        list(read_voc(tmp_path))


def test_all_damaged_files_are_named(tmp_path):
    write_image(tmp_path, "L", [[0, 1]])
    (tmp_path / "SegmentationClass/b.png").write_bytes(b"x")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/c.xml").write_text("<annotation>")
    photos = read_voc(tmp_path)
    assert next(photos).file_name == "a"
    with pytest.raises(DataError, match=r"(?s)2 photos.*b\.png.*c\.xml"):
        list(photos)
    with pytest.raises(DataError, match="no masks in SegmentationClass/"):
        list(read_voc(tmp_path / "Annotations"))


def test_objects_and_masks_of_one_photo(tmp_path):
    write_image(tmp_path, "L", [[0, 1]])
    (tmp_path / "Annotations").mkdir()
    objects = "<object><name>bus</name></object>" * 2
    (tmp_path / "Annotations/a.xml").write_text(
        f"<annotation><filename>a.JPG</filename>{objects}</annotation>"
    )
    [photo] = read_voc(tmp_path)
    assert (photo.file_name, photo.tags, photo.size) == ("a", (), (2, 1))
    assert [region.label for region in photo.regions] == ["aeroplane"]


def test_xml_of_a_renamed_photo_is_of_the_photo_with_its_own_name(tmp_path):
    write_image(tmp_path, "L", [[0, 1]])
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/b.xml").write_text(
        "<annotation><filename>a.jpg</filename><object><name>bus</name></object></annotation>"
    )
    first, second = read_voc(tmp_path)
    assert (first.file_name, first.tags, len(first.regions)) == ("a", (), 1)
    assert (second.file_name, second.tags, second.regions) == ("b", ("bus",), ())
