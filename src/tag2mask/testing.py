"""Checks of a user's own parts of the training, before hours are spent on them.

`check_part` tries a class in place of PCM, of the drawn views, or of one more loss, on small random
inputs. `tag2mask.seam.parts` has the protocols. `train-cam` does the same before it trains.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tag2mask.errors import PartError
from tag2mask.nn.mean import Mean
from tag2mask.seam.parts import (
    LOSS_PART,
    PCM_PART,
    VIEWS_PART,
    LossInputs,
    LossView,
    PartKind,
    Transform,
    broken,
    check_class,
    part_class,
    part_failed,
)
from tag2mask.seam.pcm import pcm_input
from tag2mask.seam.transform import ViewTransform

_HEIGHT, _WIDTH = 48, 72
"""Size of the photos, px."""
_CLASSES = 3


def check_part(
    part: str | type,
    kind: Literal["pcm", "views", "loss"] | str,
    options: Mapping[str, Any] | None = None,
    *,
    channels: tuple[int, int] = (8, 16),
    views: int = 2,
    refined: bool = True,
    features: int = 24,
) -> None:
    """Check that a class does what a part for the training must do.

    First its protocol, without instantiating it; then shapes, gradients, that equal inputs and
    seeds give equal results, and that its weights can be saved and loaded. A part of the kind
    ``pcm`` is also copied and run as for inference.

    Args:
        part: the class, or ``package.module:Class``, which is imported.
        kind: ``pcm``, ``views`` or ``loss``.
        options: keyword arguments of the class.
        channels: for ``pcm``: channels of the two feature maps.
        views: for ``loss``: 1 or 2 views.
        refined: for ``loss``: whether the views have refined maps.
        features: for ``loss``: channels of the backbone's last map.

    Raises:
        PartError: what is wrong.

    Example:
        >>> from tag2mask.testing import check_part
        >>> class Plain(torch.nn.Module):
        ...     def __init__(self, low_channels, mid_channels):
        ...         super().__init__()
        ...
        ...     def forward(self, maps, low, mid, image, *, valid=None):
        ...         return maps[:, 1:]  # the background is missing
        >>> check_part(Plain, "pcm")
        Traceback (most recent call last):
        ...
        tag2mask.errors.PartError: maps of shape (2, 4, 12, 18) became (2, 3, 12, 18) [Plain]. \
A part for pcm is Class(low_channels, mid_channels, **options) with forward(maps, low, mid, image, \
valid=); see docs/how-to/own-part.md.
    """
    kinds = {known.name: known for known in (PCM_PART, VIEWS_PART, LOSS_PART)}
    if kind not in kinds:
        raise PartError(f"no kind of part {kind!r}", fix=f"Give one of: {', '.join(kinds)}.")
    name = part if isinstance(part, str) else part.__qualname__
    found = part_class(part) if isinstance(part, str) else part
    check = _Check(check_class(found, kinds[kind], options or {}, name), kinds[kind], name)
    with torch.random.fork_rng(devices=[]):
        if kind == PCM_PART.name:
            _check_pcm(check, channels, options or {})
        elif kind == VIEWS_PART.name:
            _check_views(check, options or {})
        else:
            _check_loss(check, options or {}, views, refined, features)


class _Check:
    """A class under test, and how its faults are reported."""

    def __init__(self, part: Any, kind: PartKind, name: str) -> None:
        self.part, self.kind, self.name = part, kind, name

    def require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise broken(otherwise, self.kind, self.name)

    @contextmanager
    def running(self, doing: str) -> Iterator[None]:
        """Report any error of the part's own code."""
        try:
            yield
        except PartError:
            raise
        except (Exception, SystemExit) as error:
            raise part_failed(doing, error, self.name) from error

    def made(self, *arguments: int, options: Mapping[str, Any]) -> Any:
        """Instantiate the class from the same seed."""
        torch.manual_seed(0)
        with self.running("its constructor"):
            return self.part(*arguments, **options)

    def unchanged(self, inputs: list[Tensor], work: Callable[[], Any]) -> Any:
        """Return the result of some work, which must leave its inputs as they are."""
        before = [tensor.detach().clone() for tensor in inputs]
        with self.running(self.kind.method):
            result = work()
        same = all(torch.equal(old, now) for old, now in zip(before, inputs, strict=True))
        self.require(same, f"{self.kind.method} changes its inputs in place")
        return result

    def same(self, first: Tensor, second: Tensor, otherwise: str) -> None:
        """Require equal results."""
        self.require(first.shape == second.shape and torch.equal(first, second), otherwise)


def _check_pcm(check: _Check, channels: tuple[int, int], options: Mapping[str, Any]) -> None:
    part = check.made(*channels, options=options)
    same_seed = check.made(*channels, options=options)
    maps = pcm_input(torch.randn(2, _CLASSES + 1, 12, 18))
    low = torch.rand(2, channels[0], 12, 18, requires_grad=True)
    mid = torch.rand(2, channels[1], 6, 9, requires_grad=True)
    image = torch.randn(2, 3, _HEIGHT, _WIDTH)
    for valid in (None, _valid()):
        for grid in (maps, maps[:1, :, ::2, ::2]):  # the grid of the finer map, and of the CAM
            count = len(grid)
            inputs = [grid, low[:count], mid[:count], image[:count]]
            inside = None if valid is None else valid[:count]
            torch.manual_seed(1)
            refined = check.unchanged(inputs, lambda: part(*inputs, valid=inside))  # noqa: B023
            _check_maps(check, refined, grid)
    _check_gradients(check, part, refined)
    torch.manual_seed(1)
    with check.running("forward, a second time"):
        again = part(*inputs, valid=inside)
    check.same(refined, again, "forward gives other maps for the same inputs and seed")
    torch.manual_seed(1)
    with check.running("forward"):
        other = same_seed(*inputs, valid=inside)
    check.same(refined, other, "two parts made from the same seed give different maps")
    part.eval()
    with torch.inference_mode(), check.running("forward, for inference"):
        trained = part(*inputs, valid=inside)
        copied = copy.deepcopy(part)(*inputs, valid=inside)
        check.same(trained, copied, "a copy of the part gives other maps")
    torch.manual_seed(2)
    with check.running("its constructor"):
        loaded = check.part(*channels, **options)
    _check_saved(check, part, loaded)
    with torch.inference_mode(), check.running("forward, for inference"):
        maps_of_loaded = loaded.eval()(*inputs, valid=inside)
    check.same(trained, maps_of_loaded, "saved and loaded, the part gives other maps")


def _valid() -> Tensor:
    """Return the valid pixels of two photos, the second of which is padded."""
    valid = torch.ones(2, _HEIGHT, _WIDTH, dtype=torch.bool)
    valid[1, :, _WIDTH // 2 :] = False
    return valid


def _check_maps(check: _Check, refined: Any, maps: Tensor) -> None:
    check.require(isinstance(refined, Tensor), f"forward returns {_kind(refined)}, not a tensor")
    shape = tuple(refined.shape)
    check.require(shape == tuple(maps.shape), f"maps of shape {tuple(maps.shape)} became {shape}")
    check.require(refined.is_floating_point(), f"the maps are {refined.dtype}, not floating point")
    check.require(bool(refined.isfinite().all()), "the maps aren't finite")


def _check_gradients(check: _Check, part: nn.Module, result: Tensor) -> None:
    """Check that each parameter that is trained gets a gradient."""
    if not any(parameter.requires_grad for parameter in part.parameters()):
        return
    check.require(result.requires_grad, "the result has no gradient, but the part has parameters")
    with check.running("its backward pass"):
        total = (result.float() * torch.rand_like(result.float())).sum()
        total.backward()  # type: ignore[no-untyped-call]
    _check_parameter_gradients(check, part)


def _check_parameter_gradients(check: _Check, part: nn.Module) -> None:
    for name, parameter in part.named_parameters():
        if not parameter.requires_grad:
            continue
        check.require(parameter.grad is not None, f"parameter {name!r} gets no gradient")
        finite = parameter.grad is not None and bool(parameter.grad.isfinite().all())
        check.require(finite, f"the gradient of parameter {name!r} isn't finite")


def _check_saved(check: _Check, part: nn.Module, other: nn.Module) -> None:
    """Load the state of a part into another one."""
    state = part.state_dict()
    tensors = all(isinstance(value, Tensor) for value in state.values())
    check.require(tensors, "its state_dict holds values that aren't tensors")
    with check.running("loading its state_dict"):
        other.load_state_dict({name: value.clone() for name, value in state.items()})


def _check_views(check: _Check, options: Mapping[str, Any]) -> None:
    part, same = check.made(options=options), check.made(options=options)
    image, maps, valid = torch.rand(2, 3, _HEIGHT, _WIDTH), torch.rand(2, 4, 12, 18), _valid()
    maps.requires_grad_()
    for seed in range(8):
        before = torch.get_rng_state()
        with check.running("draw"):
            transform: Transform = part.draw(torch.Generator().manual_seed(seed))
            again: Transform = same.draw(torch.Generator().manual_seed(seed))
        unused = torch.equal(before, torch.get_rng_state())
        check.require(unused, "draw uses torch's own random numbers, not the generator's")
        for method in ("image", "maps", "valid"):
            found = callable(getattr(transform, method, None))
            check.require(found, f"the drawn transform has no method {method}")
        with check.running("the drawn transform"):
            image2 = check.unchanged([image], lambda: transform.image(image))  # noqa: B023
            check.same(image2, again.image(image), "the same random numbers draw other views")
            _check_transformed(check, transform, image2, maps, valid)


def _check_transformed(
    check: _Check, transform: Transform, image2: Tensor, maps: Tensor, valid: Tensor
) -> None:
    """Check what a transform makes of maps and masks; ``image2`` is what it made of the photos."""
    shape, size = tuple(image2.shape), tuple(image2.shape[2:])
    check.require(
        image2.ndim == 4 and shape[:2] == (2, 3), f"image turns (2, 3, h, w) into {shape}"
    )
    check.require(image2.dtype == torch.float32, f"image turns float32 into {image2.dtype}")
    maps2 = transform.maps(maps, (5, 7))
    shape = tuple(maps2.shape)
    check.require(shape == (2, 4, 5, 7), f"maps of size (5, 7) have the shape {shape}")
    check.require(maps2.requires_grad, "maps are not differentiable after the transform")
    valid2, small = transform.valid(valid), transform.valid(valid, (5, 7))
    good = valid2.dtype == torch.bool and tuple(valid2.shape[1:]) == size
    check.require(good, f"valid gives {valid2.dtype} of {tuple(valid2.shape)} for views of {size}")
    check.require(tuple(small.shape) == (2, 5, 7), "valid ignores its size")


def _check_loss(
    check: _Check, options: Mapping[str, Any], views: int, refined: bool, features: int
) -> None:
    part = check.made(options=options)
    for masked in (True, False):
        torch.manual_seed(2)
        with check.running("its constructor"):
            resumed = check.part(**options)
        _check_saved(check, part, resumed)
        inputs = _loss_inputs(views, refined, masked, features)
        tensors = [t for view in inputs.views for t in (view.cam, view.features)]
        tensors.append(inputs.tags)
        torch.manual_seed(1)
        term = check.unchanged(tensors, lambda: part(inputs))  # noqa: B023
        check.require(
            isinstance(term, Mean), f"forward returns {_kind(term)}, not a tag2mask.nn.mean.Mean"
        )
        for field, value in zip(("total", "count"), term, strict=True):
            scalar = isinstance(value, Tensor) and value.ndim == 0 and bool(value.isfinite())
            check.require(scalar, f"the {field} of the term is no finite scalar tensor")
        check.require(not term.count.requires_grad, "the count of the term has a gradient")
        check.require(
            term.total.requires_grad or float(term.count) == 0, "the term has no gradient"
        )
        torch.manual_seed(1)
        with check.running("forward"):
            again = resumed(inputs)
        check.same(term.total, again.total, "saved and loaded, the same inputs give another term")
        if term.total.requires_grad:
            with check.running("its backward pass"):
                term.value.backward()
            _check_loss_gradients(check, inputs)
            _check_parameter_gradients(check, part)


def _check_loss_gradients(check: _Check, inputs: LossInputs) -> None:
    views = [(view.cam, view.refined, view.logits, view.features) for view in inputs.views]
    given = [tensor for view in views for tensor in view]
    gradients = [tensor.grad for tensor in given if tensor is not None and tensor.grad is not None]
    check.require(bool(gradients), "the term depends on neither maps, logits nor features")
    finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
    check.require(finite, "the gradient of the term isn't finite")


def _loss_inputs(views: int, refined: bool, masked: bool, features: int) -> LossInputs:
    """Return random inputs of a loss near the end of a training: photos of two tags and of one."""
    transform = ViewTransform(scale=0.5)
    torch.manual_seed(0)

    def view(height: int, width: int) -> LossView:
        shape = (2, 3, height // 4, width // 4)  # background, and the classes of up to two tags
        valid = torch.ones(2, *shape[2:], dtype=torch.bool)
        valid[1, :, width // 8 :] = False
        return LossView(
            image=torch.randn(2, 3, height, width),
            logits=torch.randn(2, _CLASSES, requires_grad=True),
            cam=torch.randn(shape, requires_grad=True),
            refined=torch.rand(shape, requires_grad=True) if refined else None,
            features=torch.randn(2, features, height // 8, width // 8, requires_grad=True),
            valid=valid if masked else None,
        )

    both = (view(_HEIGHT, _WIDTH), view(*transform.output_size(_HEIGHT, _WIDTH)))
    tags = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    classes = torch.tensor([[0, 2], [1, 2]])
    return LossInputs(tags, classes, both[:views], transform if views > 1 else None, 0.9)


def _kind(value: Any) -> str:
    return type(value).__name__
