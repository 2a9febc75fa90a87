"""CVAT's XML for images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, known, masked_photo, masks

from tag2mask.errors import DataError
from tag2mask.formats.cvat import read_cvat, read_cvat_labels, write_cvat

DOCUMENTED = (
    "3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, 12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3"
)
"""The example of CVAT's documentation: a disk in a box of 13 x 15 px at (707, 888)."""


def write_xml(path, images, meta=""):
    path.write_text(f"<annotations><version>1.1</version>{meta}{images}</annotations>")
    return path


def image(shapes, size='width="8" height="4"', name="a.jpg"):
    return f'<image id="3" name="{name}" {size}>{shapes}</image>'


@settings(max_examples=60, deadline=None)
@given(pair=st.tuples(masks(), masks()))
def test_what_is_written_is_read_back(tmp_path_factory, pair):
    out = tmp_path_factory.mktemp("cvat")
    names = ["a.jpg", 'sub folder/ü 犬 "<&>.png']
    photos = [masked_photo(name, mask, "val") for name, mask in zip(names, pair, strict=True)]
    result = write_cvat(photos, CLASSES, out)
    assert result.photos == 2
    assert result.left_out_pixels == sum(int((mask == 255).sum()) for mask in pair)
    path = out / "annotations.xml"
    assert read_cvat_labels(path) == CLASSES.names
    for photo, name, mask in zip(read_cvat(path), names, pair, strict=True):
        assert (photo.file_name, photo.split, photo.tags) == (name, "val", ())
        assert photo.size == (mask.shape[1], mask.shape[0])
        assert np.array_equal(combined(photo), known(mask))


def test_the_run_lengths_of_the_documentation(tmp_path):
    shape = f'<mask label="dog" rle="{DOCUMENTED}" left="707" top="888" width="13" height="15"/>'
    path = write_xml(tmp_path / "a.xml", image(shape, 'width="1000" height="1000"'))
    [photo] = read_cvat(path)
    drawn = photo.regions[0].mask()
    disk = drawn[888:903, 707:720]
    assert drawn.sum() == disk.sum() == sum(map(int, DOCUMENTED.split(",")[1::2]))
    rows = ["".join(".#"[int(pixel)] for pixel in row) for row in disk]
    assert rows[0] == "...#####....." and rows[-1] == ".....#####..."
    assert all(len(row.strip(".").split(".")) == 1 for row in rows)  # as a disk has

    mask = drawn.astype(np.uint8)
    write_cvat([masked_photo("a.jpg", mask)], CLASSES, tmp_path)
    written = (tmp_path / "annotations.xml").read_text()
    assert f'rle="{DOCUMENTED}" left="707" top="888" width="13" height="15"' in written


def test_tags_polygons_boxes_and_scores(tmp_path):
    shapes = (
        '<tag label="rain" source="manual"/>'
        '<polygon label="dog" points="1,1;3,1;3,3;1,3" z_order="0"/>'
        '<box label="cat" xtl="0" ytl="0" xbr="4" ybr="4" rotation="10">'
        '<attribute name="Confidence">0.5</attribute></box>'
        '<points label="nose" points="1,1"/><unknown/>'
    )
    [photo] = read_cvat(write_xml(tmp_path / "a.xml", image(shapes)))
    assert photo.tags == ("rain",) and photo.split is None
    found = [(region.label, region.kind, region.score) for region in photo.regions]
    assert found == [("dog", "polygon", None), ("cat", "box", 0.5), ("nose", "box", None)]
    expected = np.zeros((4, 8), bool)
    expected[1:3, 1:3] = True
    assert np.array_equal(photo.regions[0].mask(), expected)


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        (
            '<mask label="dog" rle="3" left="0" top="0" width="2" height="2"/>',
            None,
            "3 pixels inst",
        ),
        (
            '<mask label="dog" rle="4" left="7" top="0" width="2" height="2"/>',
            None,
            "outside of the",
        ),
        ('<mask label="dog" rle="x" left="0" top="0" width="2" height="2"/>', None, "'x'"),
        ('<mask label="dog" left="0" top="0" width="2" height="2"/>', None, "invalid literal"),
        ('<mask label="dog" rle="4" left="-1" top="0" width="2" height="2"/>', None, "left '-1'"),
        (
            '<mask label="dog" rle="0,1,1,1,1,0" left="0" top="0" width="2" height="2"/>',
            None,
            "more r",
        ),
        ('<polygon label="dog" points="1,1;3"/>', None, "of the form x,y"),
        ('<polygon label="dog" points="1,1;nan,1;2,2"/>', None, "far outside"),
        ('<polygon label="dog" points="1,1;2,1;2,2"/>', "", "no width and height"),
        ('<polygon label="dog" points="1,1;2,1;2,2"/>', 'width="90000000" height="9000"', "too la"),
    ],
)
def test_damaged_shapes_are_errors_when_drawn(tmp_path, shape, size, message):
    own = image(shape) if size is None else image(shape, size)
    [photo] = read_cvat(write_xml(tmp_path / "a.xml", own))
    with pytest.raises(DataError, match=rf"damaged (mask|polygon) \(dog\): .*{message}.*image 3"):
        photo.regions[0].mask()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<track id="0" label="dog"/>', "tracks of a video"),
        (image('<mask label=" "/>'), "image 3 .*a mask has no label"),
        (image("", 'width="8" height="x"'), "height 'x'"),
        ('<image id="0"/>', "has no name"),
        ("<image>", "not CVAT's XML for images: not XML"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        list(read_cvat(write_xml(tmp_path / "a.xml", content)))


@pytest.mark.parametrize(
    "change", ["", " ", '<image name="b"/>', '<image><tag label="x"/></image>']
)
def test_a_file_that_changes_while_it_is_read(tmp_path, change):
    shape = '<polygon label="dog" points="1,1;2,1;2,2"/>'
    path = write_xml(tmp_path / "a.xml", image(shape))
    [photo] = read_cvat(path)
    write_xml(path, change)
    with pytest.raises(DataError, match="has changed while it was read"):
        photo.regions[0].mask()
    path.unlink()
    with pytest.raises(DataError, match="has changed while it was read"):
        photo.regions[0].mask()


def test_other_xml(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation><object/></annotation>")
    with pytest.raises(DataError, match="begins with <annotation>, not with <annotations>"):
        list(read_cvat(tmp_path / "a.xml"))
    with pytest.raises(DataError, match="can't be read"):
        list(read_cvat(tmp_path / "none.xml"))


def test_a_name_that_xml_cannot_hold_leaves_no_file(tmp_path):
    photo = masked_photo("\ud800.jpg", np.zeros((1, 1), np.uint8))
    with pytest.raises(DataError, match="XML can't hold the name"):
        write_cvat([photo], CLASSES, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
