"""The experiment on several starts: which head is kept, where the gate is open, no row twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from benchmarks.experiments.small_objects import starts
from benchmarks.experiments.small_objects.starts import Heads, gated, train_heads
from benchmarks.small_defects import make_small_defects

from small_runs import prepared


def test_each_class_is_of_the_start_with_the_best_tags() -> None:
    weight = torch.arange(3.0)[:, None, None].expand(3, 3, 2)
    precision = torch.tensor([[0.2, 0.9, 0.5], [0.8, 0.9, 0.4], [0.1, 0.1, 0.6]])
    kept = Heads(weight, precision).best_of(3)
    assert kept.weight[0, :, 0].tolist() == [1.0, 0.0, 2.0]
    assert kept.precision[0].tolist() == pytest.approx([0.8, 0.9, 0.6])
    assert torch.equal(Heads(weight, precision).best_of(1).weight, weight[:1])


def test_heads_that_are_nearly_as_good_are_averaged_by_their_directions() -> None:
    weight = torch.tensor([[[3.0, 0.0]], [[0.0, 0.5]], [[-9.0, 0.0]]])  # (3, 1, 2)
    heads = Heads(weight, torch.tensor([[0.90], [0.94], [0.5]]))
    assert heads.best_of(3, within=0.05).weight.tolist() == [[[0.5, 0.5]]]
    assert heads.best_of(3, within=0.01).weight.tolist() == [[[0.0, 1.0]]]
    assert heads.best_of(3, within=0.05).precision.tolist() == [[pytest.approx(0.94)]]


def test_held_out_photos_are_ranked_but_not_learned() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(40, 3, 12, 12, generator=generator)
    tags = (torch.arange(40) // 4 % 2).float()[:, None]
    features[tags[:, 0] > 0, 0, 5, 7] += 6.0
    heads = train_heads(features, tags, 40, seed=0, starts=3)
    assert heads.weight.shape == (3, 1, 3) and heads.precision.tolist() == [[1.0]] * 3
    assert len(heads.weight[:, 0, 0].unique()) == 3
    features[3::4] = 0.0  # the held-out photos alone
    other = train_heads(features, tags, 40, seed=0, starts=3)
    assert torch.equal(heads.weight, other.weight) and other.precision.max() < 1


def test_the_gate_is_open_around_the_place_of_the_deep_map() -> None:
    deep = torch.zeros(1, 1, 16, 16)
    deep[0, 0, 4, 12] = 1.0
    maps = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) + 1.0
    assert torch.equal(gated(maps, deep, 0.0), maps)
    found = gated(maps, deep, 0.5)
    kept = found == maps
    assert kept[0, 0, 4:14, 20:30].all()  # two cells of stride 16 around (4, 12)
    assert 100 <= int(kept.sum()) <= 101  # the median itself may be one of the cells
    assert found[~kept].unique().tolist() == [float(maps.flatten().median())]


def test_rows_are_computed_once(tmp_path: Path) -> None:
    data = make_small_defects(tmp_path / "data", train=12, test=4, side=128)
    prepared(data, tmp_path / "run" / "prepare")
    log = tmp_path / "log.jsonl"
    line = [str(tmp_path / "run"), "--log", str(log), "--epochs", "1", "--groups", "1"]
    line += ["--within", "0"]
    starts.main([*line, "--starts", "1", "2", "--gates", "0"])
    first = log.read_text()
    starts.main([*line, "--starts", "1", "2", "--gates", "0", "0.5"])
    rows = [json.loads(text) for text in log.read_text().splitlines()]
    assert log.read_text().startswith(first)
    assert [(row["starts"], row["gate"]) for row in rows] == [(1, 0), (2, 0), (1, 0.5), (2, 0.5)]
    assert rows[0]["data"] == {"train": 12, "val": 4, "side": 128}
    objects = {row["scores"]["objects"] for row in rows}
    assert len(objects) == 1 and objects != {0}
    assert all(b >= a for a, b in zip(rows[0]["precision"], rows[1]["precision"], strict=True))
