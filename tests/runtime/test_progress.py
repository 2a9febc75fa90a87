"""Progress as a bar on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import sys

import pytest

from tag2mask.runtime import progress as progress_module
from tag2mask.runtime.progress import ProgressBar


def test_progress_in_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    clock = iter(range(0, 10_000, 4))
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: float(next(clock)))
    with ProgressBar(10, "infer-cam", done=4) as bar:
        for _ in range(6):
            bar.advance(figures="loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert 1 < len(lines) < 6
    assert all(line.startswith("infer-cam: ") for line in lines)
    # Three of the six that were left took 16 s of this clock.
    assert lines[0] == "infer-cam: 7/10, 0.19/s, 16.0 s left  loss 0.5"
    assert lines[-1].startswith("infer-cam: 10/10")


def test_progress_on_a_terminal_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    with ProgressBar(10, "train-cam", done=4) as bar:
        bar.advance(3, figures="loss 0.5")
        bar.advance(3)
    drawn = capsys.readouterr().err
    assert "\x1b[" in drawn  # drawn over, not line by line
    last = next(line for line in reversed(drawn.splitlines()) if "train-cam" in line)
    for shown in ("━", "10/10", "0:00:00", "loss 0.5"):
        assert shown in last, last


def test_no_progress_on_other_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(2, "step", silent=True) as bar:
        bar.advance(2)
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_progress_of_a_failed_step_shows_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), ProgressBar(2, "step") as bar:
        bar.advance()
        raise KeyError
    assert "2/2" not in capsys.readouterr().err
