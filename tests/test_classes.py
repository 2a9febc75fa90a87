"""Class names, the two numberings and the colors."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.classes import (
    BACKGROUND,
    IGNORE,
    UNPRINTABLE,
    VOC_NAMES,
    ClassSet,
    distinct_palette,
    is_doubtful_name,
    mask_id,
    name_kind,
    tag_id_of_mask,
    voc_palette,
)
from tag2mask.errors import DataError, nearest_hint

pytestmark = pytest.mark.smoke

names = st.lists(
    st.text(min_size=1, max_size=8).filter(
        lambda n: n.strip() and name_kind(n) != "background" and not UNPRINTABLE.search(n)
    ),
    min_size=1,
    max_size=20,
    unique=True,
)


@settings(max_examples=25, deadline=None)
@given(names)
def test_the_numberings_agree(names: list[str]) -> None:
    classes = ClassSet(tuple(names))
    for tag, name in enumerate(names):
        assert classes.tag_id(name) == tag
        assert classes.mask_names[mask_id(tag)] == name
        assert tag_id_of_mask(mask_id(tag)) == tag
        assert mask_id(tag) not in (BACKGROUND, IGNORE)
    assert classes.mask_names[BACKGROUND] == "background"
    assert len(classes.colors) == len(classes) + 1


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "0 classes"),
        (tuple(f"c{i}" for i in range(255)), "255 classes"),
        (("cat", ""), "''"),
        (("cat", " "), "' '"),
        (("background", "cat"), "'background'"),
        (("cat", "__Background__"), "'__Background__' is not allowed"),
        (("cat", "dog", "cat"), "'cat' is listed twice"),
        (("cat", "d\0g"), r"'d\\x00g' holds an unprintable character"),
        (("hot\ndog",), r"'hot\\ndog' holds an unprintable character"),
        (("\x1b[31m",), "unprintable"),
        (("caf\udce9",), "not UTF-8"),
    ],
)
def test_impossible_class_lists(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        ClassSet(names)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("background", "background _background_ __background__ Background _none"),
        ("background", "Hintergrund _hintergrund_ arrière-plan Arriere_Plan 背景 배경 bakgrund"),
        ("ignore", "__ignore__ ignore Ignored DontCare dont_care"),
        ("unlabeled", "_unlabeled unlabelled no_label No-Label not_labeled ? ?? TODO"),
        ("nothing", "nan NaN none None null n/a N.A. NA - -- / & [ OK ok Ok. i.O. no_finding"),
        ("class", "cat backgrounds ignorance nano okapi 0 12 🐱 犬 köpek no_entry C++ NOK n.i.O."),
        ("nothing", "keine ohne_Befund kein-Defekt なし 无缺陷 ＯＫ"),
        ("class", "Hintergrundbild 背景板 fondue keiner nein"),
        ("class", "good other void unknown"),
    ],
)
def test_what_a_name_stands_for(kind: str, written: str) -> None:
    assert {name: name_kind(name) for name in written.split()} == dict.fromkeys(
        written.split(), kind
    )


def test_names_in_doubt_are_classes() -> None:
    assert all(map(is_doubtful_name, ("good", "Other", "_void_", "un-known")))
    assert not any(map(is_doubtful_name, ("cat", "goods", "nan", "")))


def test_the_largest_class_list_fits_a_mask() -> None:
    classes = ClassSet(tuple(f"c{i}" for i in range(254)))
    assert mask_id(len(classes) - 1) == IGNORE - 1
    assert len(set(classes.colors)) == 255


def test_an_unknown_tag_names_the_nearest() -> None:
    with pytest.raises(DataError, match="unknown tag 'bycicle'; did you mean 'bicycle'"):
        ClassSet(VOC_NAMES).tag_id("bycicle")
    assert nearest_hint("zzz", VOC_NAMES) == ""


def test_voc_has_its_own_palette() -> None:
    # The first, some middle and the last colors of the VOC development kit, and its void color.
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
    }
    colors = ClassSet(VOC_NAMES).colors
    assert {index: colors[index] for index in known} == known
    assert voc_palette(256)[IGNORE] == (224, 224, 192)


def test_other_palettes_are_distinct_and_stable() -> None:
    colors = distinct_palette(255)
    assert colors[0] == (0, 0, 0)
    assert len(set(colors)) == 255
    assert all(0 <= channel <= 255 for color in colors for channel in color)
    assert distinct_palette(10) == colors[:10]
    for first, second in itertools.pairwise(colors):
        assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 60
