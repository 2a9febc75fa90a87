"""The walk over all files below a folder."""

import os

import pytest
from odd_folders import linked, nested

from tag2mask.errors import DataError, RunFolderError
from tag2mask.files.digests import content_digest
from tag2mask.files.walking import MAX_DEPTH, files_under
from tag2mask.formats.photo_names import files_below


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_links_are_followed_and_the_order_is_that_of_paths(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    for name in ("b.png", "a/z.png", "a.png", ".hidden/c.png"):
        write(root / name)
    write(other / "dog/1.png")
    (root / "dog").symlink_to(other / "dog")
    (root / "c.png").symlink_to(other / "dog/1.png")
    (root / "a/up").symlink_to(root)
    (root / "gone").symlink_to(tmp_path / "nowhere")
    (root / "self").symlink_to(root / "self")
    found = [".hidden/c.png", "a/z.png", "a.png", "b.png", "c.png", "dog/1.png"]
    assert list(files_under(root)) == found
    assert sorted(found, key=lambda name: name.split("/")) == found
    assert list(files_below(root, {".png"})) == found[1:]


def test_a_change_behind_a_link_changes_the_digest(tmp_path):
    write(tmp_path / "other/1.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/dog").symlink_to(tmp_path / "other")
    before = content_digest([tmp_path / "root"])
    write(tmp_path / "other/1.png", "y")
    assert content_digest([tmp_path / "root"]) != before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(RunFolderError, match="closed"):
        list(files_under(tmp_path))


def test_folders_that_are_nested_too_deep_are_refused(tmp_path):
    write(nested(tmp_path / "most", MAX_DEPTH - 1) / "a.png")
    assert [path.count("/") for path in files_under(tmp_path / "most")] == [MAX_DEPTH - 1]
    nested(tmp_path / "deep", MAX_DEPTH)
    with pytest.raises(DataError, match=r"more than 100 levels deep \[.*/deep/d/d.*Move"):
        list(files_under(tmp_path / "deep"))


def test_links_to_links_end(tmp_path):
    first = linked(tmp_path / "few", 6)
    write(tmp_path / "few/last/a.png")
    assert len(list(files_under(first))) == 2**6, "links are followed"
    with pytest.raises(DataError, match=r"links lead to one folder in more than 100 ways"):
        list(files_under(linked(tmp_path / "many", 8)))
