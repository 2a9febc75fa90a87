"""Lines that say whether a photo shows their class: outlines, 0 and 1, photo and class in one."""

import pytest
from data_folders import write_tag_table

from tag2mask.data.layouts.tables.tag_table import read_tag_table
from tag2mask.errors import DataError


def read(tmp_path, text):
    return read_tag_table(write_tag_table(tmp_path, text) / "tags.csv")


@pytest.mark.parametrize(
    "text",
    [
        "ImageId,ClassId,EncodedPixels\na.jpg,cat,29102 12 29346 24\na.jpg,dog,\nb.jpg,cat,\n",
        "ImageId,ClassId,EncodedPixels\na.jpg,cat,1 2\na.jpg,dog,-1\nb.jpg,cat,-1\n",
        "ImageId_ClassId,EncodedPixels\na.jpg_cat,1 2\na.jpg_dog,\nb.jpg_cat,\n",
        "Image_Label,EncodedPixels\na.jpg_cat,1 2 3 4\na.jpg_dog\nb.jpg_cat,\n",
        "id,class,segmentation\na,cat,1 2\na,dog,\nb,dog,\n",
        "ImageID,Source,LabelName,Confidence\na,x,cat,1\na,x,dog,0\nb,x,cat,0\n",
        "image,label,present\na.jpg,cat,yes\na.jpg,dog,no\nb.jpg,cat,no\n",
        "image,class_id,present\na.jpg,cat,1\na.jpg,dog,0\nb.jpg,cat,0\n",
    ],
)
def test_lines_of_classes_that_the_photo_does_not_show_have_no_tag(tmp_path, text):
    table = read(tmp_path, text)
    assert [(row.id, row.tags) for row in table.rows] == [("a", ("cat",)), ("b", ())]
    assert table.problems == ()
    assert any("have no tag" in remark for remark in table.remarks)


def test_a_column_of_texts_or_paths_is_no_outline(tmp_path):
    table = read(tmp_path, "image,label,segmentation\na.jpg,cat,m/a.png\nb.jpg,dog,\n")
    assert [row.tags for row in table.rows] == [("cat",), ("dog",)]
    assert "columns not read: 'segmentation'" in table.remarks


def test_a_column_of_0_and_1_alone_is_a_class(tmp_path):
    table = read(tmp_path, "image,positive\na.jpg,1\nb.jpg,0\n")
    assert [row.tags for row in table.rows] == [("positive",), ()]


@pytest.mark.parametrize("cells", ["1 2\nb.jpg,1 2", "-1\nb.jpg,1 2", "\nb.jpg,1 2\nc.jpg,1 2"])
def test_outlines_without_a_class_are_no_tags(tmp_path, cells):
    with pytest.raises(DataError, match="'EncodedPixels' has outlines, but no column names their"):
        read(tmp_path, f"ImageId,EncodedPixels\na.jpg,{cells}\n")


def test_low_scores_are_a_warning(tmp_path):
    [problem] = read(tmp_path, "image,label,score\na.jpg,cat,0.9\nb.jpg,dog,0.2\n").problems
    assert problem.warning and "lines with a value below 0.5 (1) count like" in problem.message
    assert read(tmp_path, "image,label,score\na.jpg,cat,0.9\nb.jpg,dog,0.7\n").problems == ()


@pytest.mark.parametrize("name", ["a.jpg_cat", "cat"])
def test_only_a_table_without_photos_has_photos_and_classes_in_one_column(tmp_path, name):
    table = read(tmp_path, f"image,tags\na.jpg,{name}\n")
    assert table.rows[0].tags == (name,)
