"""Counting of photos whose results show none of their tags."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import OneRank, run_on_ranks

from tag2mask.data.index import Sample
from tag2mask.errors import DataError
from tag2mask.steps.photo_loops.empty_results import EmptyResults, empty_results, mask_shows_tags


def sample(photo_id: str, tags: tuple[int, ...] = (0,)) -> Sample:
    return Sample(photo_id, Path("x.png"), (2, 3), tags, "1-1")


PHOTOS = [sample(letter) for letter in "abcdefg"]
SHOWN = {"a": True, "b": None, "c": False, "d": True, "e": False, "f": None, "g": True}


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_empty_photos_are_those_of_all_ranks(ranks: int) -> None:
    found = run_on_ranks(
        lambda rank: empty_results(PHOTOS, lambda photo: SHOWN[photo.id], rank), ranks
    )
    assert found == [EmptyResults(("c", "e"), 5)] * ranks


def test_an_unreadable_result_is_an_error() -> None:
    def read(_: Sample) -> bool:
        raise DataError("map is missing")

    with pytest.raises(DataError, match="map is missing"):
        empty_results(PHOTOS, read, OneRank())


def test_more_than_a_fifth_is_a_warning_and_all_an_error(tmp_path: Path) -> None:
    few = EmptyResults(("a", "b"), 10)
    assert few.metrics("of {}", "Fix.") == {"without_tagged_pixels": ["a", "b"]}
    many = EmptyResults(tuple("abcd"), 19)
    assert many.checked_metrics(tmp_path, "of {}", "Fix.") == {
        "without_tagged_pixels": ["a", "b", "c", "d"],
        "warnings": ["of 4 of 19 tagged photos (a, b, c and 1 more). Fix."],
    }
    with pytest.raises(DataError, match=r"^of all 2 tagged photos \[.*\]\. Fix\.$"):
        EmptyResults(("a", "b"), 2).checked_metrics(tmp_path, "of {}", "Fix.")
    assert EmptyResults(("a", "b"), 2).metrics("of {}", "Fix.")["warnings"]
    with pytest.raises(DataError, match="of the only tagged photo"):
        EmptyResults(("a",), 1).checked_metrics(tmp_path, "of {}", "Fix.")


@pytest.mark.parametrize("tagged", [0, 8])
def test_without_empty_photos_nothing_is_recorded(tmp_path: Path, tagged: int) -> None:
    nothing = EmptyResults((), tagged)
    assert nothing.counts == nothing.checked_metrics(tmp_path, "of {}", "Fix.") == {}
    assert not nothing.is_everything


def test_a_mask_shows_a_tag_if_one_pixel_does(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"

    def shows(values: list[int], tags: tuple[int, ...]) -> bool | None:
        Image.fromarray(np.array(values, np.uint8).reshape(2, 3)).save(path)
        return mask_shows_tags(sample("a", tags), path, 3)

    assert shows([0, 0, 0, 0, 0, 2], (0, 1)) is True
    assert shows([0, 0, 255, 255, 0, 2], (0, 2)) is False  # of another class
    assert shows([255] * 6, (0,)) is False
    assert shows([1] * 6, ()) is None
