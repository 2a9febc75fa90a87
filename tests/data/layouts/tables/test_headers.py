"""Columns of a table: documented names, other tools' names, and headers that can't be read."""

import pytest
from data_folders import write_tag_table

from tag2mask.data.layouts.tables.tag_table import read_tag_table
from tag2mask.errors import DataError


def read(tmp_path, text):
    return read_tag_table(write_tag_table(tmp_path, text) / "tags.csv")


@pytest.mark.parametrize(
    "header",
    [
        "image,tags",
        "filename,tags",
        "file_name,label",
        "image_id,labels",
        "Image_Path,Tags",
        "filepath,label",
        "path,category",
        "image,class",
        '"Image","Tags"',
        " IMAGE , TAGS ",
        "\ufeffimage,tags",
        "ImageId,LABELS",
        "File Name,Class Name",
        "Bild,Klasse",
        "image,species",
        "name,tags",
        "Image Index,Finding Labels",
        "image,diagnosis",
        "image,category_id",
    ],
)
def test_names_of_columns(tmp_path, header):
    table = read(tmp_path, f"{header}\na.jpg,dog\nb.jpg,cat\n")
    assert [(row.id, row.tags) for row in table.rows] == [("a", ("dog",)), ("b", ("cat",))]
    assert table.problems == ()


def test_other_names_and_columns_that_are_not_read_are_remarks(tmp_path):
    table = read(tmp_path, "file_name,label,remark,operator\na.jpg,dog,mask,eve\n")
    assert table.problems == ()
    assert table.remarks == (
        "columns read: 'file_name' as image, 'label' as tags",
        "columns not read: 'remark', 'operator'",
    )
    assert read(tmp_path, "image,tags\na.jpg,dog\n").remarks == ()


def test_the_documented_name_comes_first(tmp_path):
    table = read(tmp_path, "path,image,label,tags\nx/a.jpg,a.jpg,1,dog\n")
    assert [(row.image, row.tags) for row in table.rows] == [("a.jpg", ("dog",))]
    table = read(tmp_path, "image,label,class_name\na.jpg,7,dog\n")
    assert table.rows[0].tags == ("dog",), "the number next to the name is not a second tag"


def test_one_column_for_each_tag(tmp_path):
    table = read(tmp_path, "image,tag1,Tag_2,mask\na.jpg,dog,hot dog,\nb.jpg,cat,,\n")
    assert [row.tags for row in table.rows][1] == ("cat",)
    assert table.rows[0].tags[0] == "dog" and len(table.rows[0].tags) > 1
    assert "'tag1' as tags, 'Tag_2' as tags" in table.remarks[0]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("image,species,verified\na.jpg,cat,true\nb.jpg,dog,false\n", ["cat", "dog"]),
        ("Bild;Klasse;Bemerkung\na.jpg;cat;x\nb.jpg;dog;\n", ["cat", "dog"]),
        ("image,label,species\na.jpg,cat,felis\nb.jpg,dog,canis\n", ["cat", "dog"]),
        ("image,class_id,class_name\na.jpg,1,cat\nb.jpg,1,cat\n", ["cat", "cat"]),
        ("image,defect\na.jpg,1\nb.jpg,1\n", ["defect", "defect"]),
        ("image,label_id,dent\na.jpg,7,1\nb.jpg,8,1\n", ["dent", "dent"]),
    ],
)
def test_which_column_has_the_tags(tmp_path, text, tags):
    table = read(tmp_path, text)
    assert [row.tags for row in table.rows] == [(tag,) for tag in tags]
    assert table.problems == ()


def test_the_other_one_of_two_columns_has_tags_where_some_are_equal(tmp_path):
    table = read(tmp_path, "file,weather\na.jpg,rain\nb.jpg,rain\nc.jpg,sun\n")
    assert table.guessed_tags and table.rows[0].tags == ("rain",)
    with pytest.raises(DataError, match="lacks `tags`"):
        read(tmp_path, "file,md5\na.jpg,d41d8\nb.jpg,98f00\n")
    with pytest.raises(DataError, match="lacks `tags`"):
        read(tmp_path, "file,split\na.jpg,train\nb.jpg,train\nc.jpg,test\n")
    assert not read(tmp_path, "file,tags\na.jpg,rain\n").guessed_tags


@pytest.mark.parametrize("name", ["masks", "mask_path", "Mask File"])
def test_the_column_of_masks(tmp_path, name):
    assert read(tmp_path, f"id,tags,{name}\na,dog,m/a.png\n").rows[0].mask == "m/a.png"


@pytest.mark.parametrize("name", ["msk", "splitt"])
def test_a_column_that_may_be_misspelled_is_a_warning(tmp_path, name):
    [problem] = read(tmp_path, f"id,tags,{name}\na,dog,x\n").problems
    assert problem.warning and f"column '{name}'" in problem.message
    assert "did you mean" in problem.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a.jpg,dog\n", "is not a header"),
        ("a.jpg,dog\nb.jpg,cat\n", "is not a header"),
        ("id,tgas,note\na,dog,fine\n", "rename the column 'tgas' to 'tags'"),
        ("imge,tags\na,dog\n", "rename the column 'imge' to 'image'"),
        ("name,tags\na,dog\n", "`image` or `id`"),
        ("id,tags,tags\n", "twice"),
        ("image,label,class\na.jpg,dog,cat\n", "Rename the right one to 'tags'"),
        ("filename,path,tags\na.jpg,b.jpg,dog\n", "'filename', 'path' may all be 'image'"),
    ],
)
def test_headers_that_cannot_be_read(tmp_path, text, message):
    with pytest.raises(DataError, match=r"tags\.csv") as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_groups_are_read_unless_they_are_a_class(tmp_path):
    table = read(tmp_path, "id,tags,group\na,dog,p1\nb,cat,p1\nc,,\n")
    assert [row.group for row in table.rows] == ["p1", "p1", ""]
    table = read(tmp_path, "id,dog,group\na,1,0\nb,0,1\n")
    assert [(row.tags, row.group) for row in table.rows] == [(("dog",), ""), (("group",), "")]
    [problem] = read(tmp_path, 'id,tags,group\na,dog,"p\x07"\n').problems
    assert "unprintable" in problem.message and not problem.warning


def test_columns_of_defects_are_tags_unless_they_count(tmp_path):
    table = read(tmp_path, "image,Fehler,lot\na.jpg,Kratzer,1\nb.jpg,Delle,1\n")
    assert [row.tags for row in table.rows] == [("Kratzer",), ("Delle",)]
    table = read(tmp_path, "image,defects,label\na.jpg,2,dent\nb.jpg,3,dent\n")
    assert [row.tags for row in table.rows] == [("dent",), ("dent",)]
    with pytest.raises(DataError, match="lacks `tags`"):
        read(tmp_path, "image,defects,lot\na.jpg,2,k1\nb.jpg,3,k2\n")
