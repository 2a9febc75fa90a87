"""A small share of the fuzzer's inputs, and that it finds faults; ``make fuzz`` runs all."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

import pytest

from campaigns.fuzz import main
from campaigns.fuzz_damage import damaged

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux_only
def test_faults_are_found_and_their_inputs_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--module",
        "campaigns.faulty_readers",
        "--seconds",
        "4",
        "--mib",
        "100",
        "--save",
        str(tmp_path),
    ]
    assert main([*options, "--inputs", "11"]) == 1
    shown = capsys.readouterr().out
    for reader, fault in (
        ("raises", "ValueError in faulty_readers.py line"),
        ("crashes", "the process crashed: exit code -6"),
        ("never ends", "more than 4 s"),
        ("fills the memory", "more than 100 MiB"),
        ("tells all", "a very long message"),
    ):
        assert re.search(rf"ESCAPE of {reader}, input \d: {fault}", shown)
    assert "ESCAPE of is right" not in shown
    assert len(list(tmp_path.iterdir())) >= 5
    saved = tmp_path / "raises-0-1.txt"
    if not saved.is_file():
        saved = tmp_path / "raises-0-0.txt"
    content = saved.read_bytes()
    saved.unlink()
    assert main([*options, "--only", "raises", "--first", saved.stem[-1], "--inputs", "1"]) == 1
    assert saved.read_bytes() == content


def test_damage_depends_on_the_seed_alone() -> None:
    content, other = b"id,tags\na,dog\n" * 9, b"\x00\x01" * 99
    found = [
        [damaged(content, random.Random(seed), [content, other], [b"cat"]) for seed in range(200)]
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert len(set(found[0])) > 150
    assert any(b"cat" in text for text in found[0])


@linux_only
def test_a_share_of_the_campaign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = main(["--inputs", "300", "--seed", "1", "--save", str(tmp_path)])
    assert found == 0, capsys.readouterr().out
