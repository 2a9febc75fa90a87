"""Checks before several machines work together; the ranks are threads here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scenes import OneRank, run_on_ranks

from small_runs import prepared, recipe, write_photos
from tag2mask.errors import NodesError, RunFolderError
from tag2mask.pipeline import nodes


def on_two(check: Callable[[Any], None]) -> None:
    run_on_ranks(check, 2)


def test_one_process_needs_no_checks(tmp_path: Path) -> None:
    runtime: Any = OneRank()
    nodes.check_same_work(runtime, recipe())
    nodes.check_shared_folder(runtime, tmp_path / "run")
    nodes.check_same_photos(runtime, tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_settings_and_options_are_compared() -> None:
    recipes = [recipe(), recipe(train_cam__epochs=7)]
    with pytest.raises(NodesError, match=r"train_cam\.epochs is 1 on rank 0.*7 on rank 1.*recipe"):
        on_two(lambda rank: nodes.check_same_work(rank, recipes[rank.rank]))
    options = [{"--until": None}, {"--until": "walk"}]
    with pytest.raises(NodesError, match=r"--until is None on rank 0.*walk on rank 1"):
        on_two(lambda rank: nodes.check_same_work(rank, recipe(), options[rank.rank]))
    on_two(lambda rank: nodes.check_same_work(rank, recipe(), {"--data": "x"}))


def test_a_shared_folder_is_seen_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    for name in ("run", "new"):
        on_two(lambda rank, name=name: nodes.check_shared_folder(rank, tmp_path / name))
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "recipe.yaml"]


def test_a_node_without_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "SHARED_SECONDS", 0.3)
    folders = [tmp_path / "here", tmp_path / "there"]
    with pytest.raises(NodesError, match=r"rank 1 \(host .*\) did not see.*\[.*here\].*share"):
        on_two(lambda rank: nodes.check_shared_folder(rank, folders[rank.rank]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_finished_run_may_be_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        on_two(lambda rank: nodes.check_shared_folder(rank, tmp_path))
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_can_not_be_written_is_an_error_on_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="a file is in the place"):
        on_two(lambda rank: nodes.check_shared_folder(rank, tmp_path / "file" / "run"))


def test_photos_are_compared_by_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared(write_photos(tmp_path / "photos"), tmp_path / "prepare")
    on_two(lambda rank: nodes.check_same_photos(rank, data.path))
    stamp_of = nodes._current_stamp
    seen: list[str] = []

    def with_another(sample: Any) -> str:
        seen.append(sample.id)
        is_second = seen.count(sample.id) == 2
        return "1-1" if sample.id == "a/00" and is_second else stamp_of(sample)

    monkeypatch.setattr(nodes, "_current_stamp", with_another)
    with pytest.raises(NodesError, match=r"photo '.*a/00\.png' is .*rank 0.*rank 1.*rsync -a"):
        on_two(lambda rank: nodes.check_same_photos(rank, data.path))


def test_missing_photos_and_many_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(write_photos(tmp_path / "photos"), tmp_path / "prepare")
    monkeypatch.setattr(nodes, "COMPARED_PHOTOS", 4)
    compared: list[dict[str, str]] = []
    monkeypatch.setattr(nodes, "check_same", lambda _, values, fix: compared.append(values))
    for path in (tmp_path / "photos").rglob("*.png"):
        path.unlink()
    on_two(lambda rank: nodes.check_same_photos(rank, data.path))
    assert [len(values) for values in compared] == [4, 4]
    assert set(compared[0].values()) == {"No such file or directory"}
