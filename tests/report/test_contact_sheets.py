"""Contact sheets: which classes and photos are shown, in bounded number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tag2mask.artifacts.handles import Evaluation
from tag2mask.errors import RunFolderError
from tag2mask.evaluation.evidence import NETWORK_QUALITY, QUALITY
from tag2mask.evaluation.records import ClassTagScores, EvaluationScores, SplitScores, TagScores
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.contact_sheets import SHEETS, TILES, _drawn, _shown_classes

pytestmark = pytest.mark.smoke

NAMES = tuple(f"class {i}" for i in range(5000))


def test_of_many_classes_the_worst_are_shown_in_their_order() -> None:
    tags = tuple(
        ClassTagScores(n, 9, (i % 500) / 500, None, None, None) for i, n in enumerate(NAMES)
    )
    split = SplitScores(
        "val", 9, "known", 0.5, "walk", None, None, TagScores(9, 0.5, 0.5, tags), ()
    )
    shown = _shown_classes(EvaluationScores(("background", *NAMES), "default", (split,)))
    assert len(shown) == SHEETS
    worst = [i for i in range(5000) if i % 500 < 2 or i in (2, 502, 1002, 1502)]
    assert shown == [NAMES[i] for i in worst]


def test_photos_are_drawn_from_the_deployed_split_first(tmp_path: Path) -> None:
    def row(split: str, number: int, tags: list[str]) -> dict[str, Any]:
        scores = {QUALITY: number / 500, NETWORK_QUALITY: 1 - number / 500}
        return {"id": f"{split}/{number}", "split": split, "tags": tags, **scores}

    rows = [row("train", i, ["a", "b"]) for i in range(400)]
    rows += [row("val", i, ["a"]) for i in range(100)] + [
        row("val", i, ["b"]) for i in range(100, 105)
    ]
    folder = tmp_path / Evaluation.step
    folder.mkdir()
    (folder / "photos.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    run = RunFolder(tmp_path, "run", {Evaluation.step: None}, (), "")  # type: ignore[dict-item]
    drawn = _drawn(run, ["a", "b"], "val", QUALITY)
    assert drawn == _drawn(run, ["b", "a"], "val", QUALITY)
    assert {name: len(tiles) for name, tiles in drawn.items()} == {"a": TILES, "b": TILES}
    assert {tile.split for tile in drawn["a"]} == {"val"}
    assert [tile.split for tile in drawn["b"]].count("val") == 5
    for tiles in drawn.values():
        assert [tile.quality for tile in tiles] == sorted(tile.quality for tile in tiles)
    network = _drawn(run, ["a"], "val", NETWORK_QUALITY)["a"]
    assert [tile.id for tile in network] == [tile.id for tile in drawn["a"]][::-1]
    chosen = [int(tile.id.split("/")[1]) for tile in drawn["a"]]
    assert 20 < sum(chosen) / TILES < 80, "by chance, not the first ones"
    (folder / "photos.jsonl").write_text('{"id": "a", "split": "val", "tags": 3}')
    with pytest.raises(RunFolderError, match="missing or damaged"):
        _drawn(run, ["a"], "val", QUALITY)
