"""VOC's XML without VOC's lists as a data folder."""

import pytest
from data_folders import write_photo

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.tools.voc_xml import is_voc_xml_folder, read_voc_xml_folder
from tag2mask.errors import DataError


def write_xml(path, *names, photo=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(f"<object><name>{name}</name></object>" for name in names)
    file_name = f"<filename>{photo}</filename>" if photo else ""
    path.write_text(f"<annotation>{file_name}{objects}</annotation>")


def entries(found):
    return {entry.id: (entry.split, entry.tags) for entry in found.entries}


def test_xml_in_a_folder_of_its_own(tmp_path):
    for name in ("images/a.jpg", "images/b.PNG", "images/c.jpg", "images/d.jpg"):
        write_photo(tmp_path / name)
    write_xml(tmp_path / "Annotations/a.xml", "dog", "dog", "cat", photo="C:\\x\\a.jpg")
    write_xml(tmp_path / "Annotations/b.xml")
    write_xml(tmp_path / "Annotations/1.xml", "bird", photo="c.jpg")
    found = read_voc_xml_folder(tmp_path, SourceOptions())
    assert found.class_names == ("bird", "cat", "dog")
    assert entries(found) == {
        "a": ("train", ("dog", "cat")),
        "b": ("train", ()),
        "c": ("train", ("bird",)),
    }
    [unused] = [problem.message for problem in found.problems]
    assert "images/d.jpg" in unused
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nfish:::\ndog:::\ncat:::\nbird:::\n")
    listed = read_voc_xml_folder(tmp_path, SourceOptions())
    assert listed.class_names == ("fish", "dog", "cat", "bird")
    assert check_data(tmp_path).errors == ()


def test_xml_beside_photos_in_folders_of_splits(tmp_path):
    for split in ("train", "valid", "test"):
        write_photo(tmp_path / split / "a.jpg")
        write_xml(tmp_path / split / "a.xml", "dog", photo="a.jpg")
    found = read_voc_xml_folder(tmp_path, SourceOptions())
    assert entries(found) == {"train/a": ("train", ("dog",)), "valid/a": ("val", ("dog",))}


def test_damaged_files_are_all_named(tmp_path):
    write_photo(tmp_path / "a.jpg")
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_text("<annotation><object/></annotation>")
    with pytest.raises(DataError, match=r"(?s)2 photos.*object 1 has no name.*a\.xml.*b\.xml"):
        read_voc_xml_folder(tmp_path, SourceOptions())


def test_other_xml_is_not_vocs(tmp_path):
    (tmp_path / "a.xml").write_text("<annotations/>")
    assert not is_voc_xml_folder(tmp_path)
    with pytest.raises(DataError, match="no XML of VOC"):
        read_voc_xml_folder(tmp_path, SourceOptions())


def test_xml_of_renamed_photos_is_of_the_photo_with_its_own_name(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        write_photo(tmp_path / "images" / name)
    write_xml(tmp_path / "Annotations/a.xml", "dog", photo="a.jpg")
    write_xml(tmp_path / "Annotations/b.xml", "cat", photo="a.jpg")
    found = read_voc_xml_folder(tmp_path, SourceOptions())
    assert entries(found) == {"a": ("train", ("dog",)), "b": ("train", ("cat",))}


@pytest.mark.parametrize("photo", ["a.jpg", "gone.jpg"])
def test_two_files_of_one_photo_are_named(tmp_path, photo):
    write_photo(tmp_path / "images/a.jpg")
    for name in ("1.xml", "2.xml"):
        write_xml(tmp_path / "Annotations" / name, "dog", photo=photo)
    with pytest.raises(DataError, match=r"(?s)Annotations/1\.xml is of the same photo.*2\.xml"):
        read_voc_xml_folder(tmp_path, SourceOptions())
