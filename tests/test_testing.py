"""`check_part`: parts that work pass, and each way of breaking the protocol is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tag2mask.errors import PartError
from tag2mask.nn.mean import Mean
from tag2mask.seam.parts import LossInputs
from tag2mask.seam.transform import ViewTransform
from tag2mask.testing import check_part


class Scale(nn.Module):
    """A part in place of PCM that scales the maps."""

    def __init__(self, low_channels: int, mid_channels: int, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.rand(1) * factor)

    def forward(
        self, maps: Tensor, low: Tensor, mid: Tensor, image: Tensor, *, valid: Tensor | None = None
    ) -> Tensor:
        return self.work(maps, valid)

    def work(self, maps: Tensor, valid: Tensor | None) -> Tensor:
        return maps * self.factor


class Views:
    def draw(self, generator: torch.Generator) -> Any:
        return self.made(float(torch.rand(1, generator=generator)))

    def made(self, drawn: float) -> Any:
        return ViewTransform(scale=0.3 + drawn, flip=drawn > 0.5)


class Size(nn.Module):
    """A loss of the size of the maps."""

    def forward(self, inputs: LossInputs) -> Any:
        return self.work(torch.cat([view.cam.flatten() for view in inputs.views]))

    def work(self, values: Tensor) -> Any:
        return Mean(values.abs().sum(), values.new_tensor(values.numel()))


def derived(base: type, **members: Any) -> type:
    return type("Part", (base,), members)


def _drops(self: Any, maps: Tensor, valid: Tensor | None) -> Tensor:
    return maps[:, 1:] * self.factor


def _in_place(self: Any, maps: Tensor, valid: Tensor | None) -> Tensor:
    return maps.mul_(0.5) * self.factor


def _noisy(self: Any, maps: Tensor, valid: Tensor | None) -> Tensor:
    return maps * self.factor + float(torch.Generator().seed() % 1000)


def _counts(self: Any, maps: Tensor, valid: Tensor | None) -> Tensor:
    self.calls = getattr(self, "calls", 0) + 1
    return maps * self.factor * self.calls


def _raises(self: Any, *_: Any) -> Tensor:
    raise IndexError("too many\nindices")


def _ends(self: Any, *_: Any, **__: Any) -> Tensor:
    raise SystemExit


def _extra_parameter(self: Any, low: int, mid: int) -> None:
    Scale.__init__(self, low, mid)
    self.unused = nn.Parameter(torch.zeros(1))


def _unsaved(self: Any, low: int, mid: int) -> None:
    Scale.__init__(self, low, mid)
    self.weights = torch.rand(1)


def _three(self: Any, low: int) -> None: ...


BROKEN_PCM = [
    (Views, "no torch.nn.Module"),
    (derived(nn.Module), "the class has no method forward"),
    (derived(Scale, forward=lambda self, maps: maps), "forward can't be called"),
    (derived(Scale, __init__=_three), "the class can't be called with the options: too many"),
    (derived(Scale, work=lambda self, maps, valid: None), "forward returns NoneType"),
    (derived(Scale, work=_drops), r"\(2, 4, 12, 18\) became \(2, 3, 12, 18\)"),
    (derived(Scale, work=_in_place), "changes its inputs in place"),
    (derived(Scale, work=_noisy), "other maps for the same inputs and seed"),
    (derived(Scale, work=_counts), "other maps for the same inputs and seed"),
    (derived(Scale, work=_raises), "forward raised IndexError: too many indices"),
    (derived(Scale, work=_ends), r"forward raised SystemExit \[Part"),
    (derived(Scale, __init__=_ends), r"its constructor raised SystemExit \[Part"),
    (derived(Scale, work=lambda s, maps, _: maps / 0 * s.factor), "the maps aren't finite"),
    (derived(Scale, work=lambda s, maps, _: maps), "the result has no gradient"),
    (derived(Scale, work=lambda s, maps, _: (maps * s.factor).long()), "torch.int64"),
    (derived(Scale, __init__=_extra_parameter), "parameter 'unused' gets no gradient"),
    (
        derived(Scale, __init__=_unsaved, work=lambda s, maps, _: maps * s.weights * s.factor),
        "saved and loaded, the part gives other maps",
    ),
]


@pytest.mark.parametrize(("part", "message"), BROKEN_PCM)
def test_a_part_that_can_not_replace_pcm(part: type, message: str) -> None:
    with pytest.raises(PartError, match=message) as caught:
        check_part(part, "pcm")
    assert caught.value.where == part.__qualname__


def test_parts_that_work() -> None:
    before = torch.get_rng_state()
    check_part(Scale, "pcm")
    check_part(Scale, "pcm", {"factor": 2.0}, channels=(3, 5))
    check_part(Views, "views")
    for views in (1, 2):
        check_part(Size, "loss", views=views, refined=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_option_is_named_before_the_class_is_instantiated() -> None:
    part = derived(Scale, work=_raises)
    with pytest.raises(PartError, match="unexpected keyword argument 'factr'"):
        check_part(part, "pcm", {"factr": 2.0})
    with pytest.raises(PartError, match="its constructor raised TypeError"):
        check_part(part, "pcm", {"factor": "two"})


class _Seeded(Views):
    def made(self, drawn: float) -> Any:
        return ViewTransform(scale=0.3 + float(torch.rand(1)))


class _Numbered(Views):
    count = 0

    def made(self, drawn: float) -> Any:
        _Numbered.count += 1
        return ViewTransform(scale=0.2 + 0.1 * (_Numbered.count % 5))


class _Cropped(ViewTransform):
    def valid(self, mask: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        return super().valid(mask, size)[:, 1:]


class _Detached(ViewTransform):
    def maps(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        return super().maps(x, size).detach()


class _Doubled(ViewTransform):
    def image(self, x: Tensor) -> Tensor:
        return super().image(x).double()


BROKEN_VIEWS = [
    (Size, "the class has no method draw"),
    (_Seeded, "torch's own random numbers"),
    (_Numbered, "the same random numbers draw other views"),
    (derived(Views, made=lambda self, drawn: None), "no method image"),
    (derived(Views, made=lambda self, drawn: ViewTransform(scale=-1.0)), "draw raised"),
    (derived(Views, made=lambda self, drawn: _Cropped(scale=0.5)), "valid gives"),
    (derived(Views, made=lambda self, drawn: _Detached(scale=0.5)), "not differentiable"),
    (derived(Views, made=lambda self, drawn: _Doubled(scale=0.5)), "into torch.float64"),
]


@pytest.mark.parametrize(("part", "message"), BROKEN_VIEWS)
def test_views_that_can_not_be_used(part: type, message: str) -> None:
    with pytest.raises(PartError, match=message):
        check_part(part, "views")


def _with_parameter(self: Any) -> None:
    nn.Module.__init__(self)
    self.weight = nn.Parameter(torch.ones(1))


def _more_each_time(self: Any, values: Tensor) -> Mean:
    self.calls = getattr(self, "calls", 0) + 1  # no buffer, so a checkpoint lacks it
    return Mean(values.sum() * self.calls, values.new_ones(()))


def _needs_two(self: Any, inputs: LossInputs) -> Mean:
    return Mean(inputs.views[1].cam.abs().sum(), torch.ones(()))


BROKEN_LOSSES = [
    (derived(Size, __init__=_with_parameter), "parameter 'weight' gets no gradient"),
    (derived(Size, work=_more_each_time), "saved and loaded, the same inputs give another term"),
    (derived(Size, work=lambda self, values: values.mean()), "returns Tensor, not a tag2mask"),
    (derived(Size, work=lambda self, values: Mean(values, values.sum())), "total of the term"),
    (derived(Size, work=lambda s, v: Mean(v.sum() / 0, v.new_ones(()))), "no finite scalar"),
    (derived(Size, work=lambda s, v: Mean(v.sum(), v.abs().sum())), "count of the term has a"),
    (derived(Size, work=lambda s, v: Mean(v.sum().detach(), v.new_ones(()))), "no gradient"),
]


@pytest.mark.parametrize(("part", "message"), BROKEN_LOSSES)
def test_losses_that_can_not_be_used(part: type, message: str) -> None:
    with pytest.raises(PartError, match=message):
        check_part(part, "loss")


class Centers(nn.Module):
    """A loss with a layer, with what it saw before, and with random cells."""

    centers: Tensor

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, 4, 1)
        self.register_buffer("centers", torch.zeros(classes, 4))

    def forward(self, inputs: LossInputs) -> Mean:
        assert 0 <= inputs.progress < 1
        found = self.project(inputs.views[0].features).mean((2, 3))  # (b, 4)
        chosen = inputs.classes[:, 0]
        self.centers = self.centers.index_add(0, chosen, 0.1 * found.detach())
        distance = (found - self.centers[chosen]) * torch.rand_like(found)
        return Mean(distance.abs().sum(), distance.new_tensor(len(chosen)))


def test_a_loss_may_have_parameters_buffers_and_random_numbers() -> None:
    check_part(Centers, "loss", {"channels": 24, "classes": 3})
    check_part(Centers, "loss", {"channels": 5, "classes": 3}, features=5, views=1)
    with pytest.raises(PartError, match="forward raised RuntimeError: Given groups=1"):
        check_part(Centers, "loss", {"channels": 5, "classes": 3})


def test_a_loss_of_two_views_is_refused_where_there_is_one() -> None:
    part = derived(Size, forward=_needs_two)
    check_part(part, "loss")
    with pytest.raises(PartError, match="forward raised IndexError"):
        check_part(part, "loss", views=1)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(PartError, match="'walk'"):
        check_part(Scale, "walk")
