"""Names of classes as files write them: what is no text is never turned into one."""

import pytest

from tag2mask.formats.annotations import label_text


@pytest.mark.parametrize(("value", "text"), [("dog", "dog"), (" a", " a"), (7, "7"), (1.5, "1.5")])
def test_texts_and_numbers(value, text):
    assert label_text(value) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "null"), (True, "true"), (False, "false"), (["a"], "a list"), ({}, "an object")],
)
def test_what_is_no_name(value, shown):
    with pytest.raises(ValueError, match=f"^{shown} is no name"):
        label_text(value)
