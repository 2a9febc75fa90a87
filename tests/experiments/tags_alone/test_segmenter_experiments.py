"""Experiments on the segmenter's training: tags, CutMix, repeated photos, early correction.

Their losses and draws against plain transcriptions, and small runs.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.experiments.tags_alone import (
    early_learning,
    second_round,
    segmenter_mixing,
    segmenter_tags,
)
from torch import Tensor

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts.handles import Evaluation, PseudoMaskFolder, SegmenterModel
from tag2mask.data.index import read_index
from tag2mask.data.masks import read_mask
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter, load_segmenter


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to its masks, beside its photos."""
    folder = tmp_path_factory.mktemp("base")
    write_photos(folder / "photos", 12, masks=True)
    low = {"threshold_from": "fixed", "background_threshold": 0.1}
    small = write_recipe(folder / "small.yaml", train_segmenter__epochs=2, pseudo_masks=low)
    words = ["run", "--data", folder / "photos", "--out", folder / "run", "--recipe", small]
    done = invoke(*words, "--until", "pseudo-masks")
    assert done.exit_code == 0, done.output
    return folder


def words(base: Path, out: Path, *more: str) -> list[str]:
    data = ["--data", str(base / "photos"), "--from", str(base / "run"), "--out", str(out)]
    return ["run", *data, "--until", "evaluate", *more]


def losses(run: Path) -> list[dict[str, str]]:
    with (run / SegmenterModel.step / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TAGS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)


def test_the_head_trains_the_encoder() -> None:
    net = build_segmenter(
        SegmenterSpec(("a", "b", "c"), "deeplabv3plus", "test_efficientnet", 16, 64, None)
    )
    objective = segmenter_tags.TaggedObjective(net, 4, 3)  # type: ignore[arg-type]
    image = random(2, 3, 64, 64).float()
    image[0, :, :, 32:] = 0  # padding
    labels = torch.full((2, 64, 64), 255)
    tags_apply = torch.ones(2, 64, 64).bool()
    tags_apply[0, :, 32:] = False
    terms = objective(image, labels, None, TAGS.float(), tags_apply)
    assert int(terms["cross_entropy"].count) == 0 and int(terms["absent"].count) == 128 + 256
    assert int(terms["tags"].count) == 6
    torch.autograd.backward(terms["tags"].value)
    assert any(p.grad is not None and p.grad.any() for p in net.backbone.parameters())
    assert objective.head.weight.grad is not None and objective.head.weight.grad.any()


def test_a_run_with_tags(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as ended:
        more = ["--set", "train_segmenter.absent_weight=0.2"]
        segmenter_tags.main(["--head", "0.05", *words(base, out, *more)])
    assert ended.value.code == 0
    for row in losses(out):
        parts = [float(row[name]) for name in ("cross_entropy", "absent", "tags")]
        assert min(parts) > 0
        weighted = parts[0] + 0.2 * parts[1] + 0.05 * parts[2]
        assert float(row["loss"]) == pytest.approx(weighted, rel=1e-3)
    net, _ = load_segmenter(out / SegmenterModel.step / "model.safetensors")
    assert not any(name == "head.weight" for name, _ in net.named_parameters())
    assert Evaluation.open(out / Evaluation.step).manifest.metrics["val"]["segmenter_miou"] >= 0


def test_repeat_factors_are_those_of_lvis() -> None:
    tags = [(0,)] * 90 + [(0, 1)] * 9 + [(2,)]
    factors = segmenter_mixing.repeat_factors([*tags, ()], 0.2)
    assert factors[0] == factors[-1] == 1
    assert factors[90] == pytest.approx(math.sqrt(0.2 * 101 / 9))
    assert factors[99] == pytest.approx(math.sqrt(0.2 * 101))


def test_photos_come_in_proportion_to_their_factors() -> None:
    factors = [1.0] * 30 + [2.5] * 10
    photos = segmenter_mixing.RepeatedPhotos(factors, seed=0)
    epochs = [[photos.address((epoch, place)) for place in range(40)] for epoch in range(300)]
    counts = Counter(photo for epoch in epochs for _, photo in epoch)
    rare = sum(counts[photo] for photo in range(30, 40)) / 10
    common = sum(counts[photo] for photo in range(30)) / 30
    assert rare / common == pytest.approx(2.5, rel=0.05)
    flat = [address for epoch in epochs for address in epoch]
    assert len(set(flat)) == len(flat), "each repetition has a crop of its own"
    again = segmenter_mixing.RepeatedPhotos(factors, seed=0)
    assert [again.address((7, place)) for place in range(40)] == epochs[7], "a resumed training"


def test_cutmix_pastes_pixels_with_their_labels() -> None:
    labels = torch.arange(6)[:, None, None].expand(6, 20, 24).contiguous()
    image = labels[:, None].expand(6, 3, 20, 24).float().contiguous()
    pasted = Counter[int]()
    for step in range(50):
        generator = torch.Generator().manual_seed(step)
        mixed, mixed_labels = segmenter_mixing.cutmix(image, labels, 0.5, generator)
        assert torch.equal(mixed, mixed_labels[:, None].expand_as(mixed).float())
        for row, own in enumerate(mixed_labels):
            values = set(own.unique().tolist())
            assert len(values | {row}) <= 2
            pasted[len(values | {row})] += 1
            if len(values) == 2:
                (other,) = values - {row}
                rows, columns = (own == other).nonzero().T
                box = own[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                assert bool((box == other).all()), "a rectangle"
    assert 0.25 < pasted[2] / 300 < 0.5
    assert torch.equal(labels[1], torch.ones_like(labels[1])), "the batch is unchanged"


@pytest.mark.parametrize("truth", [False, True])
def test_a_run_with_mixing(base: Path, tmp_path: Path, truth: bool) -> None:
    out = tmp_path / "run"
    more = ["--set", "train_segmenter.absent_weight=0"]
    more += ["--set", "train_segmenter.masks=ground truth"] if truth else []
    with pytest.raises(SystemExit) as ended:
        segmenter_mixing.main(["--repeat", "0.9", "--cutmix", "1", *words(base, out, *more)])
    assert ended.value.code == 0
    plain = invoke(*words(base, tmp_path / "plain", *more))
    assert plain.exit_code == 0, plain.output
    assert losses(out)[0]["loss"] != losses(tmp_path / "plain")[0]["loss"]


def curve(a: float, b: float, c: float, epochs: int) -> np.ndarray:
    t = np.arange(1, epochs + 1)
    return np.asarray(a * (1 - np.exp(-(t**b) / c)))


@pytest.mark.parametrize(
    ("parameters", "epochs"),
    [((0.6, 0.9, 1.5), 8), ((0.6, 0.9, 8.0), 8), ((0.3, 0.7, 3.0), 20), ((0.5, 1.0, 2.0), 5)],
)
def test_the_lost_slope_is_that_of_the_curve(
    parameters: tuple[float, float, float], epochs: int
) -> None:
    values = curve(*parameters, epochs)

    def slope(t: float) -> float:
        a, b, c = parameters
        ends = [a * (1 - math.exp(-(x**b) / c)) for x in (t - 1e-5, t + 1e-5)]
        return (ends[1] - ends[0]) / 2e-5

    wanted = 1 - slope(epochs) / slope(1)
    assert early_learning.lost_slope(values) == pytest.approx(wanted, abs=0.02)


def test_classes_are_flat_where_the_curve_has_ended() -> None:
    ended, rising, absent = curve(0.6, 0.9, 1.0, 8), curve(0.6, 1.0, 9.0, 8), np.zeros(8)
    table = np.stack([ended, ended, rising, absent], axis=1)
    assert early_learning.flat_classes(table, 0.9) == [1]


def test_only_sure_pixels_of_flat_classes_are_corrected() -> None:
    mask = np.array([[0, 1, 1, 255, 2, 0]], np.uint8)
    found = np.array([[1, 0, 2, 1, 1, 1]], np.uint8)
    probability = np.array([[0.9, 0.8, 0.9, 0.9, 0.7, 0.9]], np.float32)
    new = early_learning.correct(mask, found, probability, [1], 0.8)
    assert new.tolist() == [[1, 0, 1, 1, 2, 1]]
    assert early_learning.correct(mask, found, probability, [3], 0.8) is mask
    empty = np.zeros_like(mask)
    assert early_learning.correct(empty, found, probability, [1], 0.8).tolist() == [
        [1, 0, 0, 1, 0, 1]
    ]


def test_an_early_correction(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks, out = base / "run" / PseudoMaskFolder.step, tmp_path / "masks"
    command = [str(out), str(masks), "--epochs", "4", "--ratio", "-1", "--confidence", "0.3"]
    early_learning.main(command)
    first = capsys.readouterr().out
    rows = early_learning.read_curve(out / early_learning.CURVE)
    assert rows.shape == (4, 4) and rows.max() > 0
    handle = PseudoMaskFolder.open(out)
    assert handle.manifest.metrics["classes"] == ["cat", "dog", "bird"]
    files = sorted((masks / "masks").rglob("*.png"))
    pairs = [(file, out / "masks" / file.relative_to(masks / "masks")) for file in files]
    changed = [(read_mask(a, 3) != read_mask(b, 3)).any() for a, b in pairs]
    assert any(changed) == (handle.manifest.metrics["changed"] > 0)
    early_learning.main(command)
    assert capsys.readouterr().out == first, "complete: nothing is done again"
    done = invoke(*words(base, tmp_path / "run", "--masks", str(out)))
    assert done.exit_code == 0, done.output


def test_a_second_network_learns_what_the_first_one_says(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    done = invoke(*words(base, first))
    assert done.exit_code == 0, done.output
    command = [str(first), str(second), "--data", str(base / "photos"), "--scales", "1"]
    second_round.main(command)
    assert capsys.readouterr().out.startswith("first network ")
    handle = PseudoMaskFolder.open(tmp_path / "second-masks")
    assert 0 < handle.manifest.metrics["changed"] < 1
    for sample in read_index(first / "prepare", "train"):
        mask = read_mask(handle.path / "masks" / f"{sample.id}.png", 3)
        assert set(np.unique(mask).tolist()) <= {0, *(tag + 1 for tag in sample.tags)}
    trained = SegmenterModel.open(second / SegmenterModel.step)
    assert trained.manifest.metrics["masks_made_by"] == second_round.MADE_BY
