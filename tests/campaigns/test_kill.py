"""A small share of the kill campaign; ``make kill`` runs all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.kill import differences, main


@pytest.mark.slow
def test_killed_commands_end_with_the_same_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kills", "3", "--seed", "1"]) == 0, capsys.readouterr().out
    assert "3 kills, 0 differences" in capsys.readouterr().out


def test_differences_are_named(tmp_path: Path) -> None:
    for folder, mask in (("one", b"1"), ("other", b"2")):
        (tmp_path / folder / "report").mkdir(parents=True)
        (tmp_path / folder / "report" / "index.html").write_bytes(mask)
        (tmp_path / folder / "a.png").write_bytes(mask)
        (tmp_path / folder / "manifest.json").write_text(f'{{"seconds": {mask[0]}, "counts": 1}}')
        (tmp_path / folder / "losses.csv").write_text(f"step,photos_per_second\n1,{mask[0]}\n")
    (tmp_path / "one" / "lost.npz").touch()
    (tmp_path / "other" / "started.json").touch()
    assert list(differences(tmp_path / "one", tmp_path / "other")) == [
        "a.png has another content",
        "lost.npz is missing",
        "started.json is left over",
    ]
