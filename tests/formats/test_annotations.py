"""Names of classes as files write them: what is no text is never turned into one."""

import math

import pytest

from tag2mask.formats.annotations import Region, ShownLabels, label_text, name_text, score_of


@pytest.mark.parametrize(("value", "text"), [("dog", "dog"), (" a", " a"), (7, "7"), (1.5, "1.5")])
def test_texts_and_numbers(value, text):
    """A file's name may begin with a space, a class is the same with and without."""
    assert name_text(value) == text
    assert label_text(value) == text.strip()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "null"), (True, "true"), (False, "false"), (["a"], "a list"), ({}, "an object")],
)
def test_what_is_no_name(value, shown):
    with pytest.raises(ValueError, match=f"^{shown} is no name"):
        label_text(value)


def _region(label, *, box=False):
    return Region(label, None, "box" if box else "mask", None if box else lambda: None)


@pytest.mark.parametrize(
    ("tags", "regions", "expected"),
    [
        ((), [], True),  # background alone
        (("dog",), [], False),
        (("dog",), [_region("dog")], True),
        (("dog", "cat"), [_region("dog")], False),
        (("background", "_none"), [], True),
        ((), [_region("dog"), _region("dog", box=True)], False),
        ((), [_region("ignore", box=True)], False),
    ],
)
def test_a_photo_has_a_mask_where_all_its_labels_have_pixels(tags, regions, expected):
    assert ShownLabels().plus(tags, regions).has_mask == expected
    one_by_one = ShownLabels().plus(tags, ())
    for region in regions:
        one_by_one = one_by_one.plus((), [region])
    assert one_by_one.has_mask == expected


@pytest.mark.parametrize(("value", "score"), [(None, None), ("", None), (1, 1), ("0.25", 0.25)])
def test_scores(value, score):
    assert score_of(value) == score


@pytest.mark.parametrize("value", ["0,9", "90%", "nan", float("nan"), True, [0.9], {}, 10**400])
def test_scores_that_are_no_numbers_arent_missing(value):
    assert math.isnan(score_of(value))
