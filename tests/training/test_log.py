"""The training log: rows, resuming, and damaged files."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from tag2mask.errors import RunFolderError
from tag2mask.training.log import (
    VALIDATION,
    TrainingLog,
    best_of_validation,
    last_metrics,
    numeric_rows,
    read_rows,
    write_validation,
)

COLUMNS = ("lr", "loss")


def write(folder: Path, steps: range, done: int = 0, columns: tuple[str, ...] = COLUMNS) -> None:
    with TrainingLog(folder, columns, done) as log:
        for step in steps:
            log.write(step + 1, {"lr": 0.1, "loss": step / 8})


def lines(folder: Path) -> list[str]:
    return (folder / "losses.csv").read_text().splitlines()


def test_rows(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    assert lines(tmp_path) == ["step,lr,loss", "1,0.1,0", "2,0.1,0.125"]


def test_every_row_is_written_immediately(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, COLUMNS) as log:
        log.write(0, {"lr": 0.1, "loss": 1.0})
        assert lines(tmp_path)[-1] == "0,0.1,1"


def test_full_disk_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    hook = threading.excepthook

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"), TrainingLog(tmp_path, COLUMNS) as log:
        monkeypatch.setattr(RecordWriter, "write", full)
        for step in range(1000):
            log.write(step, {"lr": 0.1, "loss": 1.0})
    assert reported == [], "TensorBoard's thread reported it too"
    assert threading.excepthook is hook


def test_errors_of_other_threads_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: reported.append(failed.exc_type))
    with TrainingLog(tmp_path, COLUMNS):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    assert reported == [ZeroDivisionError]


def test_missing_metric_is_an_empty_cell(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, COLUMNS) as log:
        log.write(3, {"lr": 0.5})
    assert lines(tmp_path)[-1] == "3,0.5,"


def test_no_step_is_logged_twice_after_resuming(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    write(tmp_path, range(3, 6), done=3)
    assert [line.split(",")[0] for line in lines(tmp_path)[1:]] == list("123456")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 7))


def test_truncated_row_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("3,0.")
    write(tmp_path, range(2, 3), done=2)
    assert [line.split(",")[0] for line in lines(tmp_path)] == ["step", "1", "2", "3"]


def test_damaged_row_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    with (tmp_path / "losses.csv").open("ab") as file:
        file.write(b"\xff\xfe,0.1,\x80\n")
    assert last_metrics(tmp_path) == {}
    write(tmp_path, range(2, 3), done=2)
    assert [line.split(",")[0] for line in lines(tmp_path)] == ["step", "1", "2", "3"]
    assert last_metrics(tmp_path) == {"lr": 0.1, "loss": 0.25}


def test_rows_with_other_columns_are_dropped(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    write(tmp_path, range(2, 3), done=2, columns=("lr", "loss", "er"))
    assert lines(tmp_path) == ["step,lr,loss,er", "3,0.1,0.25,"]


def test_empty_log_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("")
    write(tmp_path, range(1, 2), done=1)
    assert lines(tmp_path) == ["step,lr,loss", "2,0.1,0.125"]


def test_validation_reports_the_best_network_so_far(tmp_path: Path) -> None:
    scores = {10: 0.3, 20: 0.5, 30: 0.4, 40: 0.5, 50: 0.6}
    best = [
        step
        for step, score in scores.items()
        if write_validation(tmp_path, step, {"miou": score, "cat": 0.1})
    ]
    assert best == [10, 20, 50], "an equal score is not better"
    lines = (tmp_path / "validation.csv").read_text().splitlines()
    assert lines[:2] == ["step,miou,cat", "10,0.3,0.1"] and len(lines) == 6
    assert best_of_validation(tmp_path) == 0.6
    assert write_validation(tmp_path, 30, {"miou": 0.55, "cat": 0.1}), "later rows don't count"
    assert len((tmp_path / "validation.csv").read_text().splitlines()) == 4


def test_names_of_classes_are_no_formulas_and_may_have_commas_and_quotes(tmp_path: Path) -> None:
    classes = {"=HYPERLINK(1)": 0.1, "a,b": 0.1, 'c"': 0.1}
    for step, score in ((1, 0.5), (2, 0.6), (3, 0.4)):
        assert write_validation(tmp_path, step, {"miou": score, **classes}) == (step < 3)
    lines = (tmp_path / VALIDATION).read_text().splitlines()
    assert len(lines) == 4 and lines[0] == 'step,miou,\'=HYPERLINK(1),"a,b","c"""'
    assert best_of_validation(tmp_path) == 0.6


def test_validation_without_pixels_is_only_better_than_none(tmp_path: Path) -> None:
    nan = float("nan")
    assert write_validation(tmp_path, 1, {"miou": nan})
    assert not write_validation(tmp_path, 2, {"miou": nan})
    assert write_validation(tmp_path, 3, {"miou": 0.0})
    assert not write_validation(tmp_path, 4, {"miou": nan})
    assert best_of_validation(tmp_path) == 0.0


def test_the_hook_of_threads_is_set_before_tensorboard_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, at_start = threading.excepthook, []

    def full_disk(*_: object, **__: object) -> None:
        at_start.append(threading.excepthook)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", full_disk)
    with pytest.raises(RunFolderError, match=r"disk is full \[.*tensorboard\]"):
        TrainingLog(tmp_path, COLUMNS)
    assert at_start and at_start[0] != before
    assert threading.excepthook == before


@pytest.mark.parametrize(
    "damage", ["2,0.1,0.\r5", "x,0.1,1", "2,0.1,1e", "2,0.1,1.2.3", "9" * 5000, '"1,0.1,1']
)
def test_damaged_rows_are_dropped(tmp_path: Path, damage: str) -> None:
    (tmp_path / "losses.csv").write_text(f"step,lr,loss\n1,0.1,2\n{damage}\n", newline="")
    write(tmp_path, range(1, 2), done=1)
    assert lines(tmp_path)[-1] == "2,0.1,0.125" and damage not in lines(tmp_path)
    assert last_metrics(tmp_path) == {"lr": 0.1, "loss": 0.125}


@pytest.mark.parametrize("text", ["\n\n", "step\n1\n", "\n1\n", ""])
def test_validation_without_metrics(tmp_path: Path, text: str) -> None:
    (tmp_path / VALIDATION).write_text(text)
    (tmp_path / "losses.csv").write_text(text)
    assert text or read_rows(tmp_path / "losses.csv") == []
    best = best_of_validation(tmp_path)
    assert best != best
    assert last_metrics(tmp_path) == {}


def test_a_damaged_quote_costs_one_row(tmp_path: Path) -> None:
    rows = [f"{step},0.1,{step}" for step in range(20_000)]
    rows[5] = '5,"0.1,5'
    (tmp_path / "losses.csv").write_text("\n".join(["step,lr,loss", *rows, ""]))
    found = numeric_rows(read_rows(tmp_path / "losses.csv"))
    assert [row[0] for row in found] == [str(step) for step in range(20_000) if step != 5]
