"""The journal of a step's folder."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.artifacts.handles import CamMaps
from tag2mask.artifacts.journal import Journal, recorded_items
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.recipe.sections import InferCam


def test_the_latest_record_wins_whichever_rank_wrote_it(tmp_path: Path) -> None:
    for keys in (("old", "new"), ("newer", "newest")):
        with (
            pytest.raises(ValueError, match="stop"),
            step_folder(CamMaps, tmp_path, section=InferCam()) as first,
            step_folder(CamMaps, tmp_path, section=InferCam(), rank=1) as second,
        ):
            order = (first, second) if keys[1] == "new" else (second, first)
            for step, key in zip(order, keys, strict=True):
                step.journal.record("a", key)
            raise ValueError("stop")
    with step_folder(CamMaps, tmp_path, section=InferCam()) as step:
        assert step.journal.key("a") == "newest"
        step.journal.drop("a")
        assert step.journal.key("a") is None
        assert step.journal.ids() == ()
        step.finish()


operations = st.lists(
    st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.text(max_size=5)), st.booleans()),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(operations=operations, torn=st.binary(max_size=8))
def test_the_journal_remembers_across_crashes(
    tmp_path_factory: pytest.TempPathFactory,
    operations: list[tuple[str, str | None, bool]],
    torn: bytes,
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    expected: dict[str, str] = {}

    def work(item: str, key: str | None) -> None:
        with step_folder(CamMaps, folder, section=InferCam()) as step:
            if key is None:
                step.journal.drop(item)
                expected.pop(item, None)
            else:
                step.journal.record(item, key)
                expected[item] = key
            raise KeyboardInterrupt

    for item, key, crash in operations:
        with pytest.raises(KeyboardInterrupt):
            work(item, key)
        if crash:  # a line cut off in the middle
            with (folder / "items.jsonl").open("ab") as journal:
                journal.write(b'{"id": "a", "key": "never"' + torn.replace(b"\n", b""))
    with step_folder(CamMaps, folder, section=InferCam()) as step:
        assert {item: step.journal.key(item) for item in step.journal.ids()} == expected
        step.finish()


def test_the_first_rank_drops_items_that_the_data_no_longer_has(tmp_path: Path) -> None:
    with step_folder(CamMaps, tmp_path / "maps", section={}) as step:
        for item in "ab":
            (step.path / item).touch()
            step.journal.record(item, "key")
        with step_folder(CamMaps, step.path, section={}, rank=1) as second:
            second.journal.drop_missing(["a"], lambda item: [step.path / item])
            assert set(second.journal.ids()) == {"a", "b"} and (step.path / "b").exists()
            second.finish()
        step.journal.drop_missing(["a"], lambda item: [step.path / item])
        assert step.journal.ids() == ("a",)
        assert (step.path / "a").exists() and not (step.path / "b").exists()
        step.finish()


def test_the_clock_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, now in (("first", 2_000_000_000), ("second", 1_000_000_000)):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now * 10**9)
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        with (
            pytest.raises(ValueError, match="stop"),
            step_folder(CamMaps, tmp_path, section=InferCam()) as step,
        ):
            step.journal.record("a", key)
            raise ValueError("stop")
    assert recorded_items(tmp_path) == {"a": "second"}


def test_items_whose_files_can_not_exist_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path, 0)
    journal.record("x" * 3000, "key")
    journal.record("file/a", "key")
    journal.drop_missing([], lambda item: [tmp_path / item])
    journal.close()
    assert recorded_items(tmp_path) == {}
