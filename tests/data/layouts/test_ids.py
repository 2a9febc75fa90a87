"""Ids and written paths: normal form, suffixes and conflicts."""

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from tag2mask.data.layouts.ids import normalize_path, path_conflicts, without_suffix
from tag2mask.formats.photo_names import PHOTO_SUFFIXES

PARTS = st.text("ab.é犬 -", min_size=1, max_size=5).filter(lambda part: part.strip() == part)
PATHS = st.lists(PARTS | st.just(".."), min_size=1, max_size=4).map("/".join)


@given(text=PATHS)
def test_a_normalized_path_stays_in_the_folder_and_is_its_own_normal_form(text):
    path, problem = normalize_path(text)
    if problem is None:
        assert path == posixpath.normpath(path) and not path.startswith(("/", ".."))
        assert posixpath.normpath(path) == posixpath.normpath(text)
        assert normalize_path(path) == (path, None)
    else:
        assert ".." in text.split("/") or set(text.split("/")) <= {"."}


@given(parts=st.lists(st.sampled_from(["a", "b.c", ".", ""]), min_size=1, max_size=4))
def test_either_slash_and_empty_parts_give_the_same_path(parts):
    text = "a/" + "/".join(parts)
    assert normalize_path(text) == normalize_path(text.replace("/", "\\"))
    assert normalize_path(text)[0].split("/") == ["a", *(p for p in parts if p not in ("", "."))]


@given(stem=PATHS, suffix=st.sampled_from(sorted(PHOTO_SUFFIXES)), upper=st.booleans())
def test_one_image_suffix_is_removed(stem, suffix, upper):
    assert without_suffix(stem + (suffix.upper() if upper else suffix)) == stem
    assert without_suffix(f"{stem}.txt") == f"{stem}.txt"


@given(ids=st.sets(st.lists(st.sampled_from(["a", "a.png", "b.jpg"]), max_size=3).map("/".join)))
def test_conflicts_are_those_of_files_and_folders(ids):
    expected = {
        (photo, other)
        for photo in ids
        for other in ids
        for suffix in (".png", ".jpg", ".npz")
        if other.startswith(f"{photo}{suffix}/")
    }
    assert path_conflicts(ids) == sorted(expected)
