"""Several lines of one photo."""

import pytest
from data_folders import write_photo, write_tag_table

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.layouts.tables.tag_table import read_tag_table


def read(tmp_path, text):
    return read_tag_table(write_tag_table(tmp_path, text) / "tags.csv")


def test_one_line_per_tag(tmp_path):
    table = read(tmp_path, "id,tags,mask\na,dog,\nb,cat,\na,cat,m.png\na,dog,\n")
    assert [(row.id, row.tags, row.mask) for row in table.rows] == [
        ("a", ("dog", "cat"), "m.png"),
        ("b", ("cat",), ""),
    ]
    assert table.problems == ()
    [remark] = table.remarks
    assert remark == (
        "several lines of one photo are read as one, with all their tags: "
        "'a' (tags.csv line 2, tags.csv line 4 and 1 more)"
    )


@pytest.mark.parametrize("cell", ["", "cat;bird"])
def test_lines_that_are_not_one_per_tag_are_a_warning(tmp_path, cell):
    [problem] = read(tmp_path, f"id,tags\na,dog\nb,cat\na,{cell}\n").problems
    assert problem.warning and "'a' (tags.csv line 2, tags.csv line 4)" in problem.message
    assert "remove" not in problem.message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "a,dog,train,,p\na,dog,train,,q\n",
            "photo 'a' has group 'p' in tags.csv line 2 and 'q'",
        ),
        (
            "a,dog,train,\na,dog,test,\n",
            "photo 'a' has split 'train' in tags.csv line 2 and 'test'",
        ),
        ("a,dog,,\na,cat,val,\n", "photo 'a' has split 'train' in tags.csv line 2 and 'val'"),
        ("a,dog,,x.png\na,cat,,y.png\n", "mask 'x.png' in tags.csv line 2 and 'y.png'"),
    ],
)
def test_lines_that_disagree_are_errors(tmp_path, lines, message):
    [problem] = read(tmp_path, f"id,tags,split,mask,group\n{lines}").problems
    assert not problem.warning and message in problem.message


def test_two_names_of_one_split_agree(tmp_path):
    table = read(tmp_path, "id,tags,split\na,dog,train\na,cat,Training\nb,dog,\nb,cat,train\n")
    assert table.problems == () and len(table.rows) == 2


@pytest.mark.parametrize("ids", ["123", "774"])
def test_numbers_of_lines_or_classes_name_no_photos(tmp_path, ids):
    lines = "".join(
        f"{id},{image},dog\n"
        for id, image in zip(
            ids, ("a.jpg", "a.jpg" if ids == "123" else "c.jpg", "b.jpg"), strict=True
        )
    )
    table = read(tmp_path, f"id,filename,label\n{lines}")
    assert {row.id for row in table.rows} <= {"a", "b", "c"}
    assert table.problems == () and any("named by their files" in r for r in table.remarks)
    table = read(tmp_path, "id,filename,label\n7,a.jpg,dog\n8,b.jpg,dog\n")
    assert [row.id for row in table.rows] == ["7", "8"]


def test_objects_in_lines_of_their_own(tmp_path):
    for name in ("a", "b"):
        write_photo(tmp_path / f"images/{name}.jpg")
    write_tag_table(
        tmp_path,
        "filename,width,height,class,xmin,ymin\na.jpg,4,3,cat,1,1\na.jpg,4,3,hot dog,2,2\n"
        "b.jpg,4,3,cat,0,0\n",
    )
    report = check_data(tmp_path)
    assert report.errors == () and report.class_names == ("cat", "hot dog")
    assert report.tag_counts.tolist() == [[2, 1]]
