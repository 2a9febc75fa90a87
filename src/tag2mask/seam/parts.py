"""Parts of a user's own: a class in place of PCM, of the drawn views, or one more loss.

A part is named ``package.module:Class`` and gets its options as keyword arguments. The class is
checked against its protocol (`PCM_PART`, `VIEWS_PART`, `LOSS_PART`) before it is instantiated;
`tag2mask.testing.check_part` then tries what it computes.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tag2mask.artifacts.module_source import module_of, source_digest
from tag2mask.errors import PartError, nearest_hint
from tag2mask.nn.mean import Mean
from tag2mask.text.excerpt import shortened


class CorrelationPart(Protocol):
    """In place of PCM: an `nn.Module` that refines maps.

    The class is called with ``(low_channels, mid_channels, **options)``.
    """

    def forward(
        self, maps: Tensor, low: Tensor, mid: Tensor, image: Tensor, *, valid: Tensor | None = None
    ) -> Tensor:
        """Refine maps.

        Args:
            maps: float32 (b, c, h, w) in [0, 1], background first, without gradient; see
                `tag2mask.seam.pcm.pcm_input`.
            low: finer feature map, (b, low_channels, h1, w1). Gradients through it train the
                backbone; PCM detaches it.
            mid: coarser feature map, (b, mid_channels, h2, w2), the same way.
            image: the normalized photo, (b, 3, H, W).
            valid: bool (b, H, W), False on the photo's padding; None: all valid.

        Returns:
            Refined maps, (b, c, h, w).
        """


class Transform(Protocol):
    """The transform from view 1 to view 2, such as a `tag2mask.seam.transform.ViewTransform`."""

    def image(self, x: Tensor) -> Tensor:
        """Transform images, (b, 3, H, W) -> (b, 3, H', W')."""

    def maps(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Transform maps of any resolution, differentiably, to (h', w') = ``size``."""

    def valid(self, mask: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Transform a bool mask (b, h, w) of valid pixels, to ``size``, else as `image` does."""


class ViewsPart(Protocol):
    """In place of the drawn views; the class is called with ``(**options)``."""

    def draw(self, generator: torch.Generator) -> Transform:
        """Draw the transform of a batch, with random numbers from the generator alone."""


@dataclass(frozen=True)
class LossView:
    """One view of a batch, as an extra loss gets it.

    Attributes:
        image: normalized, (b, 3, H, W).
        logits: of all classes, (b, C).
        cam: plain maps of background and tags, not normalized, float32 (b, 1 + k, h, w).
        refined: the same after PCM; None without PCM.
        features: the backbone's last map, (b, c, h', w'), in the network's precision. Gradients
            through it train the backbone.
        valid: bool (b, h, w), False on padding; None: all valid (``behavior: published``).
    """

    image: Tensor
    logits: Tensor
    cam: Tensor
    refined: Tensor | None
    features: Tensor
    valid: Tensor | None


@dataclass(frozen=True)
class LossInputs:
    """What an extra loss gets of one batch.

    Attributes:
        tags: 0/1 (b, k): which of the maps' channels 1..k are of a photo's tags. Photos with fewer
            than k tags have absent classes in the remaining channels.
        classes: int64 (b, k), the class 0..C-1 of each of these channels.
        views: one view, or two.
        transform: from view 1 to view 2; None if there is one view.
        progress: share of the training that is done, in [0, 1).
    """

    tags: Tensor
    classes: Tensor
    views: tuple[LossView, ...]
    transform: Transform | None
    progress: float


class LossPart(Protocol):
    """One more loss term: an `nn.Module`, called with ``(**options)``.

    Its parameters learn as new layers do, and it may keep buffers from batch to batch; checkpoints
    have both, the trained model has neither. Each process keeps buffers of its own. Random numbers
    are to be drawn from torch's generator, which has its seed of each step.
    """

    def forward(self, inputs: LossInputs) -> Mean:
        """Compute the term as a sum and its count, both scalars."""


@dataclass(frozen=True)
class PartKind:
    """What is known of a part's class before it is instantiated.

    Attributes:
        name: name of the kind, for messages.
        is_module: whether it is an `nn.Module`.
        arguments: positional arguments of the class.
        method: the method that it must have.
        inputs: positional arguments of the method.
        keywords: its keyword arguments.
    """

    name: str
    is_module: bool
    arguments: tuple[str, ...]
    method: str
    inputs: tuple[str, ...]
    keywords: tuple[str, ...] = ()


PCM_PART = PartKind(
    "pcm",
    True,
    ("low_channels", "mid_channels"),
    "forward",
    ("maps", "low", "mid", "image"),
    ("valid",),
)
VIEWS_PART = PartKind("views", False, (), "draw", ("generator",))
LOSS_PART = PartKind("loss", True, (), "forward", ("inputs",))

_IMPORTED: dict[str, str] = {}
"""Digest of each module's source when it was first used in this process."""


def make_part(
    name: str,
    kind: PartKind,
    options: Mapping[str, Any],
    *arguments: int,
    modules: Collection[str],
) -> Any:
    """Import the class of a part, check it and instantiate it.

    Args:
        name: ``package.module:Class``.
        kind: its protocol.
        options: its keyword arguments.
        *arguments: its positional arguments.
        modules: the names that may be imported; the user agreed to these.

    Raises:
        PartError: the name is not among ``modules``, or can't be imported; the class breaks the
            protocol, or its constructor raises an error.
    """
    if name not in modules:
        raise PartError(
            f"the network has the part {name}, whose import runs code; nothing was imported",
            where="--allow-modules",
            fix="Look at the module; if you trust it, give --allow-modules "
            f"(Python: modules=[{name!r}]).",
        )
    found = check_class(part_class(name), kind, options, name)
    try:
        return found(*arguments, **options)
    except (Exception, SystemExit) as error:  # SystemExit would end the command without a message
        raise part_failed("its constructor", error, name) from error


def part_class(name: str) -> Any:
    """Import what a part's name stands for.

    Raises:
        PartError: it can't be imported, or its source has changed since it was imported.
    """
    module, _, attribute = name.partition(":")
    digest = source_digest(name)
    if _IMPORTED.setdefault(module_of(name), digest) != digest:
        raise PartError(
            "the source of this module has changed since it was imported",
            where=name,
            fix="Start Python again.",
        )
    try:
        imported = import_module(module)
    except (Exception, SystemExit) as error:
        raise part_failed("importing its module", error, name) from error
    if not hasattr(imported, attribute):
        hint = nearest_hint(attribute, vars(imported))
        raise PartError(f"its module has no class {attribute!r}{hint}", where=name)
    return getattr(imported, attribute)


def check_class(found: Any, kind: PartKind, options: Mapping[str, Any], name: str) -> Any:
    """Check a class against a protocol, without instantiating it; return it.

    Raises:
        PartError: it breaks the protocol, or doesn't take these options.
    """
    if not inspect.isclass(found):
        raise broken("this is not a class", kind, name)
    if kind.is_module and not issubclass(found, nn.Module):
        raise broken("the class is no torch.nn.Module", kind, name)
    method = getattr(found, kind.method, None)
    if not callable(method) or method is nn.Module.forward:
        raise broken(f"the class has no method {kind.method}", kind, name)
    if inspect.isabstract(found):
        raise broken("the class is abstract", kind, name)
    problem = _call_problem(method, ("self", *kind.inputs), dict.fromkeys(kind.keywords))
    if problem:
        raise broken(f"{kind.method} can't be called with its arguments: {problem}", kind, name)
    problem = _call_problem(found, kind.arguments, options)
    if problem:
        raise broken(f"the class can't be called with the options: {problem}", kind, name)
    return found


def broken(what: str, kind: PartKind, name: str) -> PartError:
    """Return the error for a class that breaks its protocol."""
    options = ", ".join([*kind.arguments, "**options"])
    inputs = ", ".join([*kind.inputs, *(f"{key}=" for key in kind.keywords)])
    return PartError(
        what,
        where=name,
        fix=f"A part for {kind.name} is Class({options}) with {kind.method}({inputs}); "
        "see docs/how-to/own-part.md.",
    )


def part_failed(doing: str, error: BaseException, name: str) -> PartError:
    """Return the error for a part's own code that raised one."""
    text = shortened(" ".join(str(error).split()), 300)
    message = f"{doing} raised {type(error).__name__}"
    return PartError(f"{message}: {text}" if text else message, where=name)


def _call_problem(
    function: Any, arguments: Collection[str], keywords: Mapping[str, Any]
) -> str | None:
    try:
        inspect.signature(function).bind(*arguments, **keywords)
    except (TypeError, ValueError) as error:
        return str(error)
    return None
