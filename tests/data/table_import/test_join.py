"""Photos of the parts that a table names."""

import pytest

from tag2mask.data.layouts.listing import FoundFile
from tag2mask.data.table_import.join import PhotoNames, nearest_name


def names(*paths):
    return PhotoNames([FoundFile(path, "1-1") for path in paths])


def joined(texts, *paths):
    found = names(*paths).join(texts)
    return {text: part.photos for text, part in found.parts.items()}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("4711003", "4711003.JPG"),
        ("4711003", "4711003_A.JPG"),
        ("4711003", "4711003 front (2).jpg"),
        ("4711003", "line 1/4711003-front.jpg"),
        ("4711003", "4711003/front.jpg"),
        ("4711003.0", "4711003_A.JPG"),
        ("47", "0047_A.jpg"),
        ("47.0", "0047.jpg"),
        ("part 47", "Part 0047.jpg"),
        ("a.JPG", "a.jpg"),
        ("A.jpeg", "x/a.png"),
        ("x/a.jpg", "x/a.jpg"),
        (r"C:\photos\x\a.jpg", "x/a.jpg"),
        ("Gro\u0308ße", "Größe_1.jpg"),
        ("A/12", "A/12_1.jpg"),
    ],
)
def test_a_name_and_its_photo(text, path):
    assert joined([text, "other"], path, "b.jpg") == {text: (path,)}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("4711003", "47110031.jpg"),
        ("4711003", "14711003.jpg"),
        ("4711003", "4711003A.jpg"),
        ("a.jpg", "a_front.jpg"),
        ("4.711E+06", "4711003.jpg"),
        ("47", "4700.jpg"),
    ],
)
def test_another_name_is_not_joined(text, path):
    found = names(path).join([text])
    assert found.parts == {} and found.unnamed == (path,) and list(found.without_photo) == [text]


def test_a_photo_belongs_to_the_longest_name_that_fits():
    paths = ("4711_A.jpg", "4711_A_2.jpg", "4711_B.jpg", "4711.jpg")
    assert joined(["4711", "4711_A"], *paths) == {
        "4711": ("4711.jpg", "4711_B.jpg"),
        "4711_A": ("4711_A.jpg", "4711_A_2.jpg"),
    }


def test_the_group_is_the_name_that_photos_have():
    found = names("Part_0047_A.jpg", "Part_0047_B.jpg").join(["part_47"])
    assert found.parts["part_47"].group == "Part_0047"
    assert found.parts["part_47"].photos == ("Part_0047_A.jpg", "Part_0047_B.jpg")


def test_lost_zeros_are_not_guessed_where_several_names_fit():
    found = names("0047.jpg", "00047.jpg").join(["47"])
    assert found.parts == {} and "several names fit: 00047, 0047" in found.without_photo["47"]
    assert joined(["47"], "47_A.jpg", "0047_A.jpg") == {"47": ("47_A.jpg",)}
    assert joined(["47", "047"], "0047.jpg") == {}


def test_a_row_with_a_suffix_is_that_file():
    found = names("x/a.jpg", "x/a.png", "y/a.tif").join(["a.JPG"])
    assert found.parts["a.JPG"].photos == ("x/a.jpg",)
    assert found.unnamed == ("x/a.png", "y/a.tif") and found.conflicts == ()
    [conflict] = names("a.jpg", "a.png").join(["a.tif"]).conflicts
    assert "'a.tif' may be a.jpg, a.png" in conflict


def test_names_that_mean_the_same_photos_are_conflicts():
    [conflict] = names("4711.jpg").join(["4711", "4711.0"]).conflicts
    assert "'4711' and '4711.0' name the same photos" in conflict
    [conflict] = names("x/a.jpg", "y/a.jpg").join(["a.jpg"]).conflicts
    assert "'a.jpg' may be x/a.jpg, y/a.jpg: write the path" in conflict
    assert joined(["a"], "x/a.jpg", "y/a.jpg") == {"a": ("x/a.jpg", "y/a.jpg")}


def test_the_nearest_names():
    found = names("4711003_A.jpg", "b.jpg").join(["4711004_A", "4.711E+06"])
    assert found.without_photo["4711004_A"] == "the nearest photo is 4711003_A.jpg"
    assert "shortened" in found.without_photo["4.711E+06"]
    assert nearest_name("x/4711003_A.jpg", ["4711003A", "b"]) == "4711003A"
    assert nearest_name("q.jpg", ["4711003A"]) == ""
