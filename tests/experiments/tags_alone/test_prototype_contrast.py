"""The contrast with prototypes: against a plain transcription, its gradients, and a training."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from benchmarks.experiments.tags_alone import prototype_contrast as contrast
from benchmarks.experiments.tags_alone.prototype_contrast import Cells, PrototypeContrast
from torch import Tensor

from small_runs import prepared, trained, write_photos
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.seam.model import load_seam
from tag2mask.seam.parts import LossInputs, LossView
from tag2mask.seam.transform import ViewTransform
from tag2mask.testing import check_part

CLASSES, SIZE, PHOTOS = 6, 4, 3
NAME = "benchmarks.experiments.tags_alone.prototype_contrast:PrototypeContrast"


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cells(seed: int = 0) -> Cells:
    count = 40 * PHOTOS
    generator = torch.Generator().manual_seed(seed)
    return Cells(
        random(count, SIZE, seed=seed),
        torch.randint(CLASSES, (count,), generator=generator),  # the last class has no cell
        torch.rand(count, generator=generator, dtype=torch.float64),
        torch.rand(count, generator=generator) > 0.2,
        40,
    )


def prototypes(seed: int = 0) -> Tensor:
    found = random(CLASSES + 1, SIZE, seed=seed)
    found = found / found.norm(dim=1, keepdim=True)
    found[3] = 0  # not seen yet
    return found


def plain_loss(vector: Tensor, positive: int, others: list[int], protos: Tensor) -> float:
    values = [math.exp(float(vector @ protos[c]) / 0.1) for c in [positive, *others]]
    return -math.log(values[0] / sum(values))


def test_nce_is_its_formula() -> None:
    own, protos = cells(), prototypes()
    features = own.features / own.features.norm(dim=1, keepdim=True)
    found = [
        plain_loss(vector, int(label), [c for c in (0, 1, 2, 4, 5, 6) if c != label], protos)
        for vector, label, inside in zip(features, own.labels, own.inside, strict=True)
        if inside and label != 3
    ]
    loss = contrast.nce(features, own.labels, protos, own.inside, 0.1)
    assert float(loss) == pytest.approx(sum(found) / len(found), rel=1e-9)


def test_semi_hard_is_its_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    own, protos = cells(), prototypes()
    features = own.features / own.features.norm(dim=1, keepdim=True)
    monkeypatch.setattr(torch, "randperm", lambda count, device: torch.arange(count))
    by_class = []
    for label in (0, 1, 2, 4, 5):
        places = [i for i in range(len(features)) if own.labels[i] == label and own.inside[i]]
        others = [c for c in (0, 1, 2, 4, 5, 6) if c != label]
        half = len(places) // 2
        ranked = sorted(places, key=lambda i: float(features[i] @ protos[label]))
        last = int(len(places) * 0.6)
        values = []
        for i in [*places[:half], *ranked[last - half : last]]:
            hardest = sorted(others, key=lambda c: -float(features[i] @ protos[c]))
            values.append(plain_loss(features[i], label, hardest[0:3], protos))  # 3 of 5
        by_class.append(sum(values) / len(values))
    loss = contrast.semi_hard(features, own.labels, protos, own.inside, 0.1)
    assert float(loss) == pytest.approx(sum(by_class) / len(by_class), rel=1e-9)


def test_prototypes_are_weighted_means_of_the_best_cells() -> None:
    own = cells()
    found = contrast.class_prototypes(own, CLASSES + 1, 5)
    for label in range(CLASSES):
        places = [i for i in range(len(own.labels)) if own.labels[i] == label and own.inside[i]]
        best = sorted(places, key=lambda i: -float(own.confidence[i]))[:5]
        mean = torch.stack([own.confidence[i] * own.features[i] for i in best]).sum(dim=0)
        assert torch.allclose(found[label], mean / mean.norm())
    assert not found[CLASSES].any()


@pytest.mark.parametrize("loss", [contrast.nce, contrast.semi_hard])
def test_gradients(loss: object) -> None:
    own, protos = cells(), prototypes()
    features = own.features[:30].clone().requires_grad_()

    def of(vectors: Tensor) -> Tensor:
        torch.manual_seed(0)
        found: Tensor = loss(vectors, own.labels[:30], protos, own.inside[:30], 0.1)  # type: ignore[operator]
        return found

    assert torch.autograd.gradcheck(of, (features,))


def inputs(progress: float = 0.5, *, tags: tuple[float, float] = (1.0, 1.0)) -> LossInputs:
    def view(side: int, seed: int) -> LossView:
        refined = random(2, 3, side, side, seed=seed).float()
        return LossView(
            image=torch.zeros(2, 3, 4 * side, 4 * side),
            logits=torch.zeros(2, CLASSES),
            cam=refined,
            refined=refined.requires_grad_(),
            features=random(2, 5, side // 4, side // 4, seed=seed + 1).float().requires_grad_(),
            valid=None,
        )

    return LossInputs(
        torch.tensor([[1.0, 1.0], [*tags]]),
        torch.tensor([[0, 3], [1, 4]]),
        (view(32, 0), view(16, 5)),
        ViewTransform(scale=0.5),
        progress,
    )


def test_it_begins_after_the_ramp_and_trains_the_backbone() -> None:
    part = PrototypeContrast(5, CLASSES, size=SIZE)
    early = part(inputs(0.29))
    assert float(early.count) == 0 and not part.prototypes.any()
    given = inputs(0.3)
    torch.autograd.backward(part(given).value)
    for view in given.views:
        assert view.features.grad is not None and view.features.grad.any()
        assert view.refined is not None and view.refined.grad is None
    assert part.project.weight.grad is not None and part.project.weight.grad.any()


def test_absent_classes_get_no_label() -> None:
    part = PrototypeContrast(5, CLASSES, size=SIZE, background=0.0)
    for view in part.cells(inputs(tags=(1.0, 0.0))):
        first, second = view.labels.view(2, -1)
        assert set(first.tolist()) <= {0, 1, 4} and set(second.tolist()) <= {0, 2}
    part.update(part.cells(inputs(tags=(1.0, 0.0))))
    assert set(contrast.known(part.prototypes[0]).nonzero()[:, 0].tolist()) <= {0, 1, 2, 4}


def test_prototypes_are_moving_averages() -> None:
    part = PrototypeContrast(5, CLASSES, size=SIZE, momentum=0.75)
    part.update([cells(0)])
    first = contrast.class_prototypes(cells(0), CLASSES + 1, 5).float()
    assert torch.allclose(part.prototypes[0], first) and not part.prototypes[1].any()
    part.update([cells(1)])
    second = contrast.class_prototypes(cells(1), CLASSES + 1, 5).float()
    mixed = 0.75 * first + 0.25 * second
    assert torch.allclose(part.prototypes[0, :-1], (mixed / mixed.norm(dim=1, keepdim=True))[:-1])


def test_it_is_a_part() -> None:
    check_part(PrototypeContrast, "loss", {"channels": 24, "classes": 3})
    options = {"channels": 7, "classes": 20, "size": 8, "start": 0.0}
    check_part(PrototypeContrast, "loss", options, views=1, refined=False, features=7)


def test_a_training_with_it(tmp_path: Path) -> None:
    data = prepared(write_photos(tmp_path / "photos", 8), tmp_path / "prepare")
    backbone = build_backbone("test_efficientnet", weights="none", output_stride=16)
    options = {"channels": backbone.channels[2], "classes": 3, "size": 8}
    extra = [{"module": NAME, "weight": 0.1, "options": options}]
    longer = {"train_cam__epochs": 3}
    model = trained(data, tmp_path / "contrast", **longer, train_cam__losses__extra=extra)
    plain = trained(data, tmp_path / "plain", **longer)
    names, *rows = [row.split(",") for row in (model.path / "losses.csv").read_text().split()]
    values = [float(row[names.index("extra1")]) for row in rows]
    assert values[0] == 0 and values[-1] > 0
    first, second = load_seam(model.file)[0], load_seam(plain.file)[0]
    assert {name for name, _ in first.named_parameters()} == {
        name for name, _ in second.named_parameters()
    }
    assert not torch.equal(first.head.weight, second.head.weight)
