"""Watched folders and decisions, with predict.py alone and with tag2mask predict: the same."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from watching import (
    PROGRAMS,
    RULE,
    end,
    mask_names,
    put,
    rows,
    run,
    wait_for,
    watching,
    write_export,
)

from tag2mask.data.masks import read_mask

Line = Callable[..., list[str]]
both = pytest.mark.parametrize("line", PROGRAMS.values(), ids=PROGRAMS)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return write_export(tmp_path / "exported", rule=RULE)


def watch(line: Line, exported: Path, folder: Path, out: Path, *more: str) -> list[str]:
    return line(exported, folder, "--watch", "--every", "0.1", "--out", out, *more)


@both
def test_photos_as_they_arrive(line: Line, exported: Path, tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    with watching(watch(line, exported, inbox, out, "--decisions")) as process:
        time.sleep(0.3)
        put(inbox / "7_a.png", 1)
        wait_for(process, (out / "masks/7_a.png").is_file)
        (inbox / "bad.jpg").write_bytes(b"no photo")
        (inbox / "fixed.jpg").write_bytes(b"no photo yet")
        put(inbox / "later/7_b.jpg", 2)
        put(inbox / "7_c.bmp", 0, (250, 10, 10))
        wait_for(process, lambda: len(mask_names(out)) == 3)
        put(inbox / "fixed.jpg", 3)
        wait_for(process, lambda: len(mask_names(out)) == 4)
        wait_for(process, lambda: "fixed" in (out / "group_decisions.csv").read_text())
        code, text, errors = end(process)
    assert code == 3 and "4 computed" in text, errors
    assert "bad" in errors and "Traceback" not in errors
    assert mask_names(out) == {"7_a.png", "7_c.png", "fixed.png", "later/7_b.png"}
    assert len(rows(out / "decisions.csv")) == 4
    decided = {row["photo"]: row["decision"] for row in rows(out / "decisions.csv")}
    assert decided["7_c"] == "red"
    groups = {row["group"]: row for row in rows(out / "group_decisions.csv")}
    assert set(groups) == {"7", "later/7", "fixed"} and groups["7"]["photos"] == "2"
    assert "red" in groups["7"]["decision"].split(";")


@both
def test_what_is_wrong_with_one_photo_ends_no_watch(line: Line, tmp_path: Path) -> None:
    """The network refuses a photo, one has too long a name, a link leads to itself, a pipe."""
    exported = write_export(tmp_path / "exported", rule=RULE, width=64)
    inbox, out, long = tmp_path / "inbox", tmp_path / "out", "n" * 245
    put(inbox / f"{long}.png", 0, (250, 0, 0))
    (inbox / "loop").symlink_to("loop")
    os.mkfifo(inbox / "cam.jpg")
    (inbox / "sub").mkdir()
    (inbox / "sub/above").symlink_to("..")
    with watching(watch(line, exported, inbox, out, "--decisions")) as process:
        wait_for(process, lambda: len(mask_names(out)) == 1)
        Image.new("RGB", (40, 60)).save(inbox / "narrow.png")
        put(inbox / "x.png/a.png", 2)
        put(inbox / "x.bmp", 2)
        put(inbox / f"{long}.png", 0, (0, 0, 250))
        put(inbox / "sub/z.png", 3)
        wait_for(process, (out / "masks/sub/z.png").is_file)
        time.sleep(0.5)
        put(inbox / "late.png", 4)
        wait_for(process, (out / "masks/late.png").is_file)
        code, text, errors = end(process)
    assert code == 3 and "4 photos, 4 computed" in text, (text, errors)
    names = mask_names(out)
    assert names >= {f"{long}.png", "sub/z.png", "late.png"}
    assert len(names & {"x.png", "x.png/a.png"}) == 1 and len(names) == 4
    for words in (
        "loop",
        "it can't be read: ",
        "it is a pipe",
        "would be too long",
        "narrow",
        "invalid dimensions",
    ):
        assert errors.count(words) >= 1, errors
    assert "has the name of its mask" in errors and "Traceback" not in errors
    assert list(np.unique(read_mask(out / "masks" / f"{long}.png", 3))) == [1], "the earlier one"
    assert {row["photo"] for row in rows(out / "decisions.csv")} == {
        name.removesuffix(".png") for name in names
    }


@both
def test_only_settled_files_are_read(line: Line, exported: Path, tmp_path: Path) -> None:
    """A photo that is copied slowly is neither labeled nor reported while it grows."""
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    put(tmp_path / "whole.bmp", 3)
    content = (tmp_path / "whole.bmp").read_bytes()
    with watching(line(exported, inbox, "--watch", "--every", "0.5", "--out", out)) as process:
        with (inbox / "slow.bmp").open("wb") as file:
            for first in range(0, len(content), 1 + len(content) // 30):
                file.write(content[first : first + 1 + len(content) // 30])
                file.flush()
                time.sleep(0.1)
        assert not (out / "masks").exists()
        wait_for(process, (out / "masks/slow.png").is_file)
        _, _, errors = end(process)
    assert "left out" not in errors


@both
def test_other_content_under_a_known_name(line: Line, exported: Path, tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    put(inbox / "x.png", 0, (250, 0, 0))
    with watching(watch(line, exported, inbox, out, "--decisions")) as process:
        wait_for(process, (out / "masks/x.png").is_file)
        time.sleep(0.3)
        put(inbox / "x.png", 0, (0, 0, 250))
        wait_for(process, lambda: len(mask_names(out)) == 2)
        wait_for(process, (out / "masks/x.png").is_file)
        end(process)
    lines = rows(out / "decisions.csv")
    assert [row["decision"] for row in lines] == ["red", "blue"]
    earlier = f"x.{lines[0]['time']}.png"
    assert mask_names(out) == {"x.png", earlier}
    values = [np.unique(read_mask(out / "masks" / name, 3)) for name in (earlier, "x.png")]
    assert [list(value) for value in values] == [[1], [3]]


@both
def test_restart_after_a_kill(line: Line, exported: Path, tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    for index in range(4):
        put(inbox / f"{index}.png", index)
    command = watch(line, exported, inbox, out, "--decisions")
    with watching(command) as process:
        wait_for(process, lambda: (out / "decisions.csv").is_file())
        process.kill()
    put(inbox / "new.png", 9)
    with watching(command) as process:
        wait_for(process, lambda: len(mask_names(out)) == 5)
        time.sleep(0.3)
        code, _, errors = end(process)
    assert code == 0, errors
    last = {row["photo"]: row for row in rows(out / "decisions.csv")}
    assert set(last) == {"0", "1", "2", "3", "new"}
    again = run(line(exported, inbox, "--out", out, "--decisions"))
    assert again.returncode == 0 and "0 computed" in again.stdout, "it was complete"


@both
def test_the_masks_in_a_watched_folder_are_not_labeled(
    line: Line, exported: Path, tmp_path: Path
) -> None:
    inbox, masks = tmp_path / "inbox", tmp_path / "inbox/masks"
    put(inbox / "x.png", 1)
    (tmp_path / "link").symlink_to("inbox")
    with watching(watch(line, exported, tmp_path / "link", inbox / "../inbox/masks")) as process:
        wait_for(process, (masks / "masks/x.png").is_file)
        time.sleep(0.5)
        put(inbox / "y.png", 2)
        wait_for(process, (masks / "masks/y.png").is_file)
        code, text, errors = end(process)
    assert code == 0 and "2 computed" in text, errors
    assert mask_names(masks) == {"x.png", "y.png"}


@both
def test_a_watched_folder_that_vanishes(line: Line, exported: Path, tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    put(inbox / "x.png", 1)
    with watching(watch(line, exported, inbox, out)) as process:
        wait_for(process, (out / "masks/x.png").is_file)
        shutil.rmtree(inbox)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"error: the watched folder is gone: {inbox}" in errors and "Traceback" not in errors


@both
def test_equal_names_while_watching(line: Line, exported: Path, tmp_path: Path) -> None:
    """The first photo keeps its name, whatever arrives next to it."""
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    put(inbox / "x.png", 1)
    with watching(watch(line, exported, inbox, out)) as process:
        wait_for(process, (out / "masks/x.png").is_file)
        before = (out / "masks/x.png").read_bytes()
        put(inbox / "x.bmp", 2)
        put(inbox / "y.bmp", 2)
        wait_for(process, (out / "masks/y.png").is_file)
        _, _, errors = end(process)
    assert "another photo of this name has a mask" in errors
    assert mask_names(out) == {"x.png", "y.png"}
    assert (out / "masks/x.png").read_bytes() == before


@both
def test_a_repeated_name_leaves_that_photo_alone_out(
    line: Line, exported: Path, tmp_path: Path
) -> None:
    put(tmp_path / "monday/x.png", 1)
    put(tmp_path / "tuesday/x.png", 2)
    put(tmp_path / "tuesday/y.png", 3)
    out = tmp_path / "out"
    assert run(line(exported, tmp_path / "monday", "--out", out)).returncode == 0
    before = (out / "masks/x.png").read_bytes()
    done = run(line(exported, tmp_path / "tuesday", "--out", out))
    assert done.returncode == 3 and "another photo of this name" in done.stderr
    assert mask_names(out) == {"x.png", "y.png"}
    assert (out / "masks/x.png").read_bytes() == before


def test_both_programs_decide_the_same(exported: Path, tmp_path: Path) -> None:
    for index in range(12):
        put(tmp_path / f"photos/{index // 2}_{index % 2}.png", index)
    tables = {}
    for name, line in PROGRAMS.items():
        out = tmp_path / name
        done = run(line(exported, tmp_path / "photos", "--out", out, "--decisions"))
        assert done.returncode == 0, done.stderr
        found = sorted(rows(out / "decisions.csv"), key=lambda row: row["photo"])
        tables[name] = [{k: v for k, v in row.items() if k != "time"} for row in found]
        assert len(rows(out / "group_decisions.csv")) == 6
        for row in found:
            mask = np.asarray(Image.open(out / "masks" / f"{row['photo']}.png"))
            assert float(row["area blue"]) == pytest.approx((mask == 3).mean(), rel=1e-4)
            shown = set(row["decision"].split(";")) - {"none"}
            assert ("blue" in shown) <= ((mask == 3).mean() >= 0.45)
            assert row["group"] == row["photo"].partition("_")[0]
            assert "area green" not in row, "no decision about this class"
    assert tables["alone"] == tables["tag2mask"]
    assert len({row["decision"] for row in tables["alone"]}) >= 2


@both
def test_no_decision_rule(line: Line, tmp_path: Path) -> None:
    put(tmp_path / "x.png", 1)
    exported = write_export(tmp_path / "exported")
    done = run(line(exported, tmp_path / "x.png", "--out", tmp_path / "out", "--decisions"))
    assert done.returncode == 1 and "--miss-rate" in done.stderr
    assert not (tmp_path / "out").exists() and "Traceback" not in done.stderr


@both
def test_a_folder_without_decisions_is_not_continued_with_them(
    line: Line, exported: Path, tmp_path: Path
) -> None:
    put(tmp_path / "x.png", 1)
    assert run(line(exported, tmp_path / "x.png", "--out", tmp_path / "out")).returncode == 0
    done = run(line(exported, tmp_path / "x.png", "--out", tmp_path / "out", "--decisions"))
    assert done.returncode == 1 and "decisions" in done.stderr
    assert mask_names(tmp_path / "out") == {"x.png"}
