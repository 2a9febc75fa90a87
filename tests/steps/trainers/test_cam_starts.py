"""Choice of heads: which photos are held out, and what each class is chosen by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scenes import run_on_ranks

from tag2mask.data.index import Sample
from tag2mask.seam.head_starts import CellStatistics, HeadStarts
from tag2mask.steps.trainers.cam_starts import Choice, all_logits, choose, held_out_photos


def samples(*rows: tuple[str, tuple[int, ...]]) -> list[Sample]:
    return [
        Sample(f"p{number}", Path(f"p{number}.png"), (8, 8), tags, "1-1", group)
        for number, (group, tags) in enumerate(rows)
    ]


def held_out(*rows: tuple[str, tuple[int, ...]]) -> list[int]:
    return np.flatnonzero(held_out_photos(samples(*rows), 2)).tolist()


def test_every_fourth_group_is_held_out() -> None:
    both = (0, 1)
    assert held_out(*[("", both)] * 9) == [3, 7]
    groups = [(name, both) for name in ("a", "a", "b", "c", "d", "d", "e", "b")]
    assert held_out(*groups) == [4, 5]


def test_a_class_that_only_held_out_photos_show_is_learned() -> None:
    rows = [("", (0,))] * 9
    rows[3] = ("", (1,))
    assert held_out(*rows) == [7]
    rows[0] = ("", (1,))
    assert held_out(*rows) == [3, 7]


def chosen(tags: np.ndarray, logits: np.ndarray, out: np.ndarray) -> Choice:
    torch.manual_seed(0)
    statistics = CellStatistics(torch.zeros(2), torch.ones(2))
    starts = logits.shape[1] // tags.shape[1]
    heads = HeadStarts(statistics, num_classes=tags.shape[1], starts=starts, best_cells=4, eps=1e-5)
    return choose(heads, logits.astype(np.float32), tags, out)


def test_held_out_photos_choose_and_learned_ones_where_no_other_shows_a_class() -> None:
    out = np.array([False, False, False, True, True, True])
    tags = np.zeros((6, 3), np.bool_)
    tags[[0, 3], 0] = True  # shown by both
    tags[1, 1] = True  # by a learned photo alone; class 2 by none
    logits = np.zeros((6, 2, 3))
    logits[3, 1, 0] = 1  # start 1 ranks the held-out photo first
    logits[0, 0, 0] = 1  # start 0 the learned one
    logits[[4, 5], 0, 0] = 1
    logits[1, 0, 1] = 1
    logits[[0, 2], 1, 1] = 1
    found = chosen(tags, logits.reshape(6, 6), out)
    assert found.head.kept.tolist() == [1, 1, 2]
    assert found.held_out.tolist() == [True, False, False]
    assert found.photos.tolist() == [1, 1, 0]
    assert found.precision[:2].tolist() == [1.0, 1.0] and np.isnan(found.precision[2])
    said = found.described(("a", "b", "c"), 2)
    assert said.classes["a"] == {
        "heads": 1,
        "average_precision": 1.0,
        "held_out": True,
        "photos": 1,
    }
    assert said.classes["c"]["average_precision"] is None
    assert said.lines == [
        "a: 1 of 2 heads, average precision 1.00 (1 held-out photos)",
        "b: 1 of 2 heads, average precision 1.00 (1 learned photos)",
    ]
    assert said.warnings == [
        "train_cam.starts: b: no held-out photo shows it, so the learned ones chose",
        "train_cam.starts: c: no training photo shows it",
    ]


def test_ranks_share_the_photos_and_each_gets_all_logits() -> None:
    torch.manual_seed(0)
    statistics = CellStatistics(torch.zeros(2), torch.ones(2))
    heads = HeadStarts(statistics, num_classes=2, starts=2, best_cells=4, eps=1e-5)
    photos = [torch.randn(2, 3 + number, 4).half() for number in range(5)]

    class Features:
        read = staticmethod(photos.__getitem__)

        def __len__(self) -> int:
            return len(photos)

    wanted = heads.logits(photos).detach().numpy()
    for found in run_on_ranks(lambda rank: all_logits(heads, Features(), rank), 3):  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, wanted)


def test_few_photos_are_all_learned_from() -> None:
    assert held_out(("", (0,)), ("", (1,)), ("", ())) == []
    tags = np.array([[True, False], [False, True], [False, False]])
    found = chosen(tags, np.eye(3, 4), np.zeros(3, np.bool_))
    assert not found.held_out.any() and found.photos.tolist() == [1, 1]


def test_a_class_that_no_head_has_learned_is_named() -> None:
    tags = np.zeros((8, 1), np.bool_)
    tags[[0, 7]] = True
    out = np.arange(8) >= 2
    logits = -np.arange(8.0)[:, None]
    (warning,) = chosen(tags, logits, out).described(("pit",), 1).warnings
    assert "no head has learned pit (average precision 0.17)" in warning
