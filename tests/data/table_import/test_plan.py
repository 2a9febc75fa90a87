"""Imports of tables: guesses, options, what is in the way, and earlier imports."""

import openpyxl
import pytest
from data_folders import write_photo

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.table_import.options import ImportOptions
from tag2mask.data.table_import.plan import plan_import, plan_imports
from tag2mask.data.table_import.summary import import_summary
from tag2mask.data.table_import.write import write_imports
from tag2mask.errors import DataError, ProblemsError

PARTS = "part number;date;defects\n4711;2026-01-02;scratch\n4712;2026-01-03;\n4713;2026-01-03;{}\n"


@pytest.fixture
def photos(tmp_path):
    """Two photos of each of three parts."""
    for part in ("4711", "4712", "4713"):
        for side in "AB":
            write_photo(tmp_path / "photos" / f"{part}_{side}.JPG", color="red")
    return tmp_path / "photos"


def plan(tmp_path, text, encoding="utf-8", out="data", **options):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return plan_import(path, tmp_path / "photos", tmp_path / out, ImportOptions(**options))


def tags(found):
    return {path.removeprefix("images/"): photo.tags for path, photo in found.photos.items()}


def obstacles(tmp_path, text, **options):
    with pytest.raises(ProblemsError) as caught:
        plan(tmp_path, text, **options)
    assert not (tmp_path / "data").exists()
    return caught.value.problems


def test_without_options(photos, tmp_path):
    found = plan(tmp_path, PARTS.format('"dent; scratch"'))
    assert found.class_names == ("dent", "scratch")
    assert tags(found) == {
        "4711_A.JPG": ("scratch",),
        "4711_B.JPG": ("scratch",),
        "4712_A.JPG": (),
        "4712_B.JPG": (),
        "4713_A.JPG": ("dent", "scratch"),
        "4713_B.JPG": ("dent", "scratch"),
    }
    assert {photo.group for photo in found.photos.values()} == {"4711", "4712", "4713"}
    lines = import_summary(found)
    assert lines[:5] == (
        "table: table.csv, 3 rows, read as utf-8-sig",
        "columns: photos in 'part number', tags in 'defects'; columns not read: 'date'; several "
        "tags in a cell are separated by ';' or '|'",
        "classes: 2, by parts: dent 1, scratch 2",
        "no tag: 1 row ('empty cell' 1)",
        "photos: 6 of 6 joined, of 3 parts, 3 with several photos",
    )
    assert lines[5] == "  4711 = 4711_A.JPG, 4711_B.JPG: scratch"
    [warning] = found.warnings
    assert "2 tagged parts have several photos" in warning and "one side" in warning


def test_what_was_written_is_what_is_read(photos, tmp_path):
    found = plan(tmp_path, PARTS.format('"deep pit; scratch"'))
    assert write_imports([found]) == 0
    data = tmp_path / "data"
    assert (data / "classes.txt").read_text() == "deep pit\nscratch\n"
    inventory = read_inventory(data)
    assert inventory.class_names == ("deep pit", "scratch") and inventory.problems == ()
    assert {e.image: e.tags for e in inventory.entries} == {
        path: photo.tags for path, photo in found.photos.items()
    }
    assert {e.group for e in inventory.entries} == {"4711", "4712", "4713"}
    assert check_data(data).errors == ()
    assert (data / "images/4711_A.JPG").samefile(photos / "4711_A.JPG")
    assert sorted(path.name for path in photos.iterdir()) == [
        f"{part}_{side}.JPG" for part in ("4711", "4712", "4713") for side in "AB"
    ]


def test_copies_instead_of_links(photos, tmp_path, monkeypatch):
    found = plan(tmp_path, PARTS.format("dent"))
    assert write_imports([found], copy=True) == 6
    copied = tmp_path / "data/images/4711_A.JPG"
    assert not copied.is_symlink() and copied.read_bytes() == (photos / "4711_A.JPG").read_bytes()

    def no_links(*_):
        raise OSError(1314, "no right for it")

    monkeypatch.setattr("os.symlink", no_links)
    assert write_imports([plan(tmp_path, PARTS.format("dent"), out="other")]) == 6


def test_a_workbook(photos, tmp_path):
    book = openpyxl.Workbook()
    for row in (
        ["Part", "Result"],
        [4711.0, "dent"],
        [4712, "OK"],
        [4713, "dent"],
        [47130, "dent"],
    ):
        book.active.append(row)
    book.save(tmp_path / "table.xlsx")
    found = plan_import(tmp_path / "table.xlsx", photos, tmp_path / "data", ImportOptions())
    assert tags(found)["4711_A.JPG"] == ("dent",) and tags(found)["4712_B.JPG"] == ()
    assert found.class_names == ("dent",)
    lines = import_summary(found)
    assert "no tag: 1 row ('OK' 1)" in lines and "classes: 1, by parts: dent 2" in lines
    assert (
        lines[-1] == "left out: 1 part without a photo: '47130' (the nearest photo is 4713_B.JPG)"
    )


def test_other_encodings_and_separators(photos, tmp_path):
    text = "Teil\tFehler\n4711\tMaß\n4712\t\n4713\tMaß + Grat\n"
    for encoding in ("cp1252", "utf-16"):
        found = plan(tmp_path, text, encoding, separator="+")
        assert found.class_names == ("Grat", "Maß")
    assert tags(found)["4713_A.JPG"] == ("Maß", "Grat")


def test_columns_of_marks_and_counts(photos, tmp_path):
    text = "part;dent;scratch;lot\n4711;x;;7\n4712;0;3;8\n4713;none;0;9\n"
    found = plan(tmp_path, text, tag_columns=("scratch", "dent"), no_tag=("none",))
    assert found.class_names == ("scratch", "dent")
    assert [tags(found)[f"{part}_A.JPG"] for part in (4711, 4712, 4713)] == [
        ("dent",),
        ("scratch",),
        (),
    ]
    [obstacle] = obstacles(tmp_path, text, tag_columns=("scratch", "dent"))
    assert "column 'dent' has 'none' (table.csv line 4)" in obstacle and "--no-tag" in obstacle


def test_names_are_changed_and_texts_mean_no_tag(photos, tmp_path):
    text = PARTS.format("fine").replace("scratch", "Scratch")
    found = plan(tmp_path, text, rename={"scratch": "line"}, no_tag=("Fine",))
    assert found.class_names == ("line",) and tags(found)["4713_A.JPG"] == ()
    [obstacle] = obstacles(tmp_path, text, rename={"scrach": "line"})
    assert "no row has the tag 'scrach'; did you mean 'scratch'?" in obstacle
    assert any(
        "'good' count as classes" in w for w in plan(tmp_path, PARTS.format("good")).warnings
    )


def test_parts_that_nobody_looked_at_are_left_out(photos, tmp_path):
    found = plan(tmp_path, PARTS.format("?"))
    assert "4713_A.JPG" not in tags(found) and "images/4713_A.JPG" not in found.files
    assert import_summary(found)[-1] == "left out: 1 part that is not labeled: '4713'"


def test_photos_that_no_row_names_are_left_out(photos, tmp_path):
    write_photo(photos / "47l3.jpg")
    found = plan(tmp_path, PARTS.format("dent"))
    assert len(found.photos) == 6
    assert import_summary(found)[-1] == (
        "left out: 1 photo that no row names: 47l3.jpg (the nearest row is '4713')"
    )


def test_rows_of_one_part_are_joined(photos, tmp_path):
    found = plan(tmp_path, PARTS.format("dent") + "4711;;dent\n;;pit\n;total;\n")
    assert tags(found)["4711_A.JPG"] == ("scratch", "dent")
    lines = import_summary(found)
    assert lines[-1] == "left out: rows that name no part: table.csv line 6, table.csv line 7"
    assert "no tag: 1 row ('empty cell' 1)" in lines


def test_names_with_outer_spaces_change_nothing_in_the_next_import(tmp_path):
    for name in ("tail .jpg", "4711.jpg"):
        write_photo(tmp_path / "photos" / name)
    text = "image,tags\ntail .jpg,dent\n4711.jpg,pit\n"
    found = plan(tmp_path, text)
    write_imports([found])
    again = plan(tmp_path, text)
    assert len(found.photos) == 2 and again.photos == found.photos
    assert not again.needs_consent and not again.changes.other
    assert {e.group for e in read_inventory(tmp_path / "data").entries} == {"tail", "4711"}


def test_split_and_group_of_the_table_are_kept(photos, tmp_path):
    text = "part,tags,split,group\n4711_A,dent,val,p1\n4711_B,,val,p1\n4712,dent,train,p2\n"
    found = plan(tmp_path, text)
    write_imports([found])
    entries = read_inventory(tmp_path / "data").entries
    assert [(e.id, e.split, e.group) for e in entries][:2] == [
        ("images/4711_A", "val", "p1"),
        ("images/4711_B", "val", "p1"),
    ]
    given = plan(tmp_path, text, tags_column="tags", photo_column="part")
    assert given.photos == found.photos
    [obstacle] = obstacles_of(tmp_path, text + "4712,dent,val,p2\n")
    assert "'4712' has split 'train' in table.csv line 4 and 'val' in table.csv line 5" in obstacle


def obstacles_of(tmp_path, text):
    with pytest.raises(ProblemsError) as caught:
        plan(tmp_path, text, out="other")
    return caught.value.problems


def test_all_that_is_not_clear_is_told_at_once(photos, tmp_path):
    text = "a;b;c;d\n4711;4711;x1;y1\n4712;4713;x1;y1\n"
    assert obstacles(tmp_path, text) == (
        "the columns 'a', 'b' all look like photos; give --photo-column",
        "'c', 'd' may have the tags; give --tags-column, or --tag-columns for a column per class",
    )
    first, *others = obstacles(
        tmp_path, text, photo_column="e", tags_column="f", tag_columns=("c",), separator=", "
    )
    assert "--separator ', ' is not one character" in first
    assert "no column 'e'; there are 'a', 'b', 'c', 'd'" in others[0]
    assert "no column 'f'" in others[1] and "exclude each other" in others[2]
    [problem] = obstacles(tmp_path, "part;tags\nA1;dent\nA2;dent\n")
    assert "no column names a photo by its file or part: 'part' (A1), 'tags' (dent)" in problem
    assert "'4711_A.JPG', '4711_B.JPG', '4712_A.JPG' and 3 more; correct --photos, or" in problem
    [problem] = obstacles(tmp_path, "part;tags\n4711;\n4712;OK\n")
    assert "no row has a tag" in problem
    [problem] = obstacles(tmp_path, "part;tags\nA1;dent\n", photo_column="part")
    assert "no row names a photo: the rows have 'A1', the photos are '4711_A.JPG'" in problem


def test_an_earlier_import_is_extended(photos, tmp_path):
    write_imports([plan(tmp_path, PARTS.format("dent"))])
    write_photo(photos / "4720.jpg")
    again = plan(tmp_path, "part;tags\n4711;scratch\n4720;dent\n")
    assert not again.needs_consent and again.changes.new_photos == 1
    changed = plan(tmp_path, "part;defects\n4711;burr\n4720;burr;\n")
    assert changed.needs_consent and changed.class_names == ("dent", "scratch", "burr")
    assert changed.changes.tags[0] == "images/4711_A.JPG: scratch -> burr"
    assert import_summary(changed)[-2:] == (
        "  new classes, behind the others: burr",
        "  other tags: 2 photos: images/4711_A.JPG: scratch -> burr, images/4711_B.JPG: "
        "scratch -> burr",
    )
    write_imports([changed])
    inventory = read_inventory(tmp_path / "data")
    assert inventory.class_names == ("dent", "scratch", "burr")
    found = {entry.image: entry.tags for entry in inventory.entries}
    assert found["images/4711_A.JPG"] == ("burr",) and found["images/4713_A.JPG"] == ("dent",)
    assert len(found) == 7


def test_classes_that_no_photo_has_any_more(photos, tmp_path):
    write_imports([plan(tmp_path, PARTS.format("Scratch"))])
    [_, warning] = plan(tmp_path, PARTS.format("scratch")).warnings
    assert warning.startswith("no photo has 'Scratch' any more, but the numbers in masks")
    assert plan(tmp_path, PARTS.format("scratch"), out="other").warnings[1:] == ()
    assert len(plan(tmp_path, "part;tags\n4711;scratch\n").warnings) == 1, "in an earlier row"


def test_several_tables_are_one_import(photos, tmp_path):
    write_photo(photos / "4720.jpg")
    tables = {
        "one": PARTS.format("dent"),
        "two": "part;tags\n4720;burr\n",
        "three": "part;tags\n4720;\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    out, paths = tmp_path / "data", [tmp_path / f"{name}.csv" for name in tables]
    plans = plan_imports(paths[:2], photos, out, ImportOptions())
    assert not any(found.needs_consent for found in plans), "new classes of a new import"
    conflict = plan_imports(paths, photos, out, ImportOptions())
    assert [found.needs_consent for found in conflict] == [False, False, True]
    assert "images/4720.jpg: burr -> no tag" in import_summary(conflict[2])[-1]
    assert not out.exists()
    write_imports(plans)
    inventory = read_inventory(out)
    assert inventory.class_names == ("dent", "scratch", "burr")
    assert {entry.image: entry.tags for entry in inventory.entries}["images/4720.jpg"] == ("burr",)
    assert len(inventory.entries) == 7
    assert plan_import(paths[0], photos, out, ImportOptions()).existed


def test_one_of_several_tables_has_the_tags(photos, tmp_path):
    texts = {"good": "part;tags\n4712;OK\n", "bad": "part;tags\n4711;Kratzer\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    options = ImportOptions(rename={"kratzer": "scratch"})
    for names in (("good", "bad"), ("bad", "good")):
        paths = [tmp_path / f"{name}.csv" for name in names]
        plans = plan_imports(paths, photos, tmp_path / "data", options)
        assert plans[-1].class_names == ("scratch",) and len(plans[-1].photos) == 4
        with pytest.raises(ProblemsError) as caught:
            plan_imports(
                paths, photos, tmp_path / "data", ImportOptions(rename={"kratzr": "scratch"})
            )
        (problem,) = caught.value.problems
        assert "no row has the tag 'kratzr'; did you mean 'kratzer'" in problem
    with pytest.raises(ProblemsError, match="no row has a tag"):
        plan_imports([tmp_path / "good.csv"] * 2, photos, tmp_path / "data", ImportOptions())


def test_other_photos_of_known_names_are_in_the_way(photos, tmp_path):
    write_imports([plan(tmp_path, PARTS.format("dent"))])
    write_photo(tmp_path / "week2" / "4711_A.JPG", (5, 5), "blue")
    with pytest.raises(ProblemsError, match="other photos of the same names"):
        plan_import(tmp_path / "table.csv", tmp_path / "week2", tmp_path / "data", ImportOptions())


def test_folders_that_are_not_taken(photos, tmp_path):
    text = PARTS.format("dent")
    with pytest.raises(DataError, match="in each other"):
        plan(tmp_path, text, out="photos/data")
    write_photo(tmp_path / "own" / "a.jpg")
    with pytest.raises(DataError, match=r"files of its own \(a\.jpg\)"):
        plan(tmp_path, text, out="own")
    (tmp_path / "own" / "tags.csv").write_text("image,tags\na.jpg,dog\n")
    with pytest.raises(DataError, match="not written by an import"):
        plan(tmp_path, text, out="own")
    with pytest.raises(DataError, match="in the place of the folder"):
        plan(tmp_path, text, out="table.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no photos"):
        plan_import(tmp_path / "table.csv", tmp_path / "empty", tmp_path / "d", ImportOptions())
    with pytest.raises(DataError, match="no such folder"):
        plan_import(tmp_path / "table.csv", tmp_path / "gone", tmp_path / "d", ImportOptions())


def test_tags_that_a_table_cannot_hold_are_named(photos, tmp_path):
    text = "part,dent;deep,scratch\n4711,1,0\n4712,0,1\n"
    [obstacle] = obstacles(tmp_path, text, tag_columns=("dent;deep", "scratch"))
    assert "tag 'dent;deep' can't be written" in obstacle
    found = plan(tmp_path, text, tag_columns=("dent;deep", "scratch"), rename={"dent;deep": "dent"})
    assert found.class_names == ("dent", "scratch")


def test_names_that_may_be_misspelled(photos, tmp_path):
    rows = "".join(f"{n};scratch\n" for n in range(4711, 4716)) + "4716;Scratch\n"
    warnings = plan(tmp_path, f"part;tags\n{rows}").warnings
    assert any("--rename 'Scratch=scratch'" in warning for warning in warnings)


def test_the_same_name_in_several_folders_is_a_doubt(tmp_path):
    for lot in ("lot1", "lot2"):
        for name in ("9.jpg", "10_top.jpg", f"11/{lot}.jpg"):
            write_photo(tmp_path / "photos" / lot / name, color="red")
    for side in ("top", "side"):
        write_photo(tmp_path / "photos" / "lot1" / "12" / side / "1.jpg", color="red")
    found = plan(tmp_path, "part,tags\n9,dent\n10,dent\n11,\n12,scratch\n")
    (warning,) = [text for text in found.warnings if "several folders" in text]
    assert warning.startswith("2 parts have photos of the same name in several folders")
    assert "('10': lot1/10_top.jpg, lot2/10_top.jpg)" in warning and "'lot1/10'" in warning
    text = "part,tags\nlot1/9,dent\nlot2/9,\nlot1/10,\nlot2/10,dent\n11,\n12,scratch\n"
    named = plan(tmp_path, text)
    assert not [text for text in named.warnings if "several folders" in text]
    assert tags(named)["lot1/9.jpg"] == ("dent",) and tags(named)["lot2/9.jpg"] == ()
