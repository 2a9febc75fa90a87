"""Model files: a trained network and its specification in one safetensors file.

The specification is in the file's metadata, so that a model needs no recipe and no run folder to be
used again. The same function reads the authors' released ``.pth`` files. Each family of networks
brings its `ModelKind`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from tag2mask.artifacts.checksums import check_model_file
from tag2mask.errors import RecipeError, WeightsError, first_few
from tag2mask.nn.weights import check_shapes, load_into, load_state, stored_shapes
from tag2mask.text.excerpt import shortened
from tag2mask.text.json_text import parse_json

KIND = "kind"
"""Field of the stored specification with the name of the file's kind."""

Positive = Annotated[int, Field(ge=1, le=100_000)]
"""A size in a specification: px, channels, MiB."""
_LARGER = 4
"""Networks may register this many times the numbers in their files while they are built: parts such
as the ImageNet classifier are dropped, and others replaced (DeepLabV3+ on Lite0: 3.3 times)."""
NetT = TypeVar("NetT", bound=nn.Module)
SpecT = TypeVar("SpecT")


@dataclass(frozen=True)
class ModelKind(Generic[NetT, SpecT]):
    """A family of networks and how its files are read.

    Attributes:
        name: name with its article, for error messages.
        key: metadata key of the specification.
        fix: what to do if a file isn't of this kind.
        spec: makes a specification, a dataclass, from its fields.
        build: builds a network with random weights; raises a `RecipeError` if it can't.
        official_spec: specification of the network in the authors' ``.pth`` file.
        official_state: renames the tensors of that file; gets its path for error messages.
    """

    name: str
    key: str
    fix: str
    spec: Callable[..., SpecT]
    build: Callable[[SpecT], NetT]
    official_spec: SpecT
    official_state: Callable[[dict[str, Tensor], Path], dict[str, Tensor]]


def write_model(path: Path, kind: ModelKind[NetT, SpecT], net: NetT, spec: SpecT) -> None:
    """Write weights and specification to ``path`` (the caller makes it atomic).

    Raises:
        OSError: full disk, no permission (safetensors' own writer hides these).
    """
    assert dataclasses.is_dataclass(spec) and not isinstance(spec, type)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    # One entry alone: safetensors writes several in any order, and equal models are equal files.
    metadata = {kind.key: json.dumps({KIND: kind.name, **dataclasses.asdict(spec)})}
    path.write_bytes(save(state, metadata=metadata))


def read_model(path: Path, kind: ModelKind[NetT, SpecT]) -> tuple[NetT, SpecT]:
    """Read a model file: ours (``.safetensors``), or the authors' (any other suffix).

    Returns:
        The network in evaluation mode, and its specification.

    Raises:
        WeightsError: missing, cut off, not a model, of another kind or of another network.
    """
    spec = read_spec(path, kind)
    if _is_ours(path):
        net = _build_of_size(path, kind, spec)
        state = load_state(path)
    else:
        state = kind.official_state(load_state(path), path)
        net = _build(path, kind, spec)
    load_into(net, state, where=path)
    net.eval()
    return net, spec


def read_spec(path: Path, kind: ModelKind[NetT, SpecT]) -> SpecT:
    """Return the specification in one of our model files; of another file, the official one.

    Raises:
        WeightsError: missing, cut off, not a model, of another kind or of another version.
    """
    if not _is_ours(path):
        return kind.official_spec
    if not path.is_file():
        raise WeightsError("no such model file", where=path, fix=kind.fix)
    check_model_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"not a model file, or cut off ({error})", where=path, fix=kind.fix
        ) from None
    if kind.key not in metadata:
        what = (
            f"this is {other}, not {kind.name}"
            if (other := _kind_name(metadata))
            else "this safetensors file holds no tag2mask model"
        )
        raise WeightsError(what, where=path, fix=kind.fix)
    try:
        values: dict[str, Any] = parse_json(metadata[kind.key])
        values.pop(KIND, None)
        return _checked(kind.spec(**values))
    except ValidationError as error:
        fields = first_few({str(problem["loc"][0]) for problem in error.errors()})
        raise _other_version(path, f"impossible values of {fields}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise _other_version(path, shortened(str(error), 200)) from None


def _is_ours(path: Path) -> bool:
    return path.suffix.lower() == ".safetensors"


def _checked(spec: SpecT) -> SpecT:
    """Return a specification whose values have the types and limits that its class states."""
    assert dataclasses.is_dataclass(spec) and not isinstance(spec, type)
    checked: SpecT = TypeAdapter(type(spec)).validate_python(dataclasses.asdict(spec))
    return checked


def _build(path: Path, kind: ModelKind[NetT, SpecT], spec: SpecT) -> NetT:
    """Build the network of a specification.

    Raises:
        WeightsError: there is no such network.
    """
    try:
        return kind.build(spec)
    except RecipeError as error:
        raise _other_version(path, error.what) from None
    # Values within their limits can still be impossible together; layers then raise any of these.
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        reason = f"no network has this specification: {shortened(str(error), 200)}"
        raise _other_version(path, reason) from None


def _build_of_size(path: Path, kind: ModelKind[NetT, SpecT], spec: SpecT) -> NetT:
    """Build the network of a file's specification, unless it takes far more memory than the file.

    Such a network is planned without memory first, and compared with the tensors in the file: a
    wrong specification must not use up the memory.

    Raises:
        WeightsError: tensors missing, unexpected or of another shape, or no such network.
    """
    shapes = stored_shapes(path)
    limit = _SizeLimit(_LARGER * sum(map(math.prod, shapes.values())))
    random = torch.get_rng_state()
    try:
        with limit:
            return _build(path, kind, spec)
    except (WeightsError, _TooLargeError):
        if not limit.exceeded:
            raise
    torch.set_rng_state(random)
    with torch.device("meta"):
        planned = _build(path, kind, spec)
    own = {name: tuple(tensor.shape) for name, tensor in planned.state_dict().items()}
    check_shapes(own, shapes, where=path)
    return _build(path, kind, spec)


class _TooLargeError(BaseException):
    """A network that is being built has more numbers than it may.

    No `Exception`: who builds a part of a user's own reports any exception of its constructor.
    """


class _SizeLimit:
    """Stops this thread where it builds a network of more than some numbers.

    Each tensor is counted before it is filled: until then it takes no memory.
    """

    def __init__(self, numbers: int) -> None:
        self._left = numbers
        self._thread = threading.get_ident()

    @property
    def exceeded(self) -> bool:
        """Whether a network was stopped."""
        return self._left < 0

    def __enter__(self) -> None:
        self._hooks = (
            register_module_parameter_registration_hook(self._count),
            register_module_buffer_registration_hook(self._count),
        )

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _count(self, _module: nn.Module, _name: str, tensor: Tensor | None) -> None:
        if tensor is not None and threading.get_ident() == self._thread:
            self._left -= tensor.numel()
            if self.exceeded:
                raise _TooLargeError


def _kind_name(metadata: dict[str, str]) -> str | None:
    """Return the name of the kind that a file is of; None if it isn't one of our model files."""
    for value in metadata.values():
        try:
            name = parse_json(value).get(KIND)
        except (ValueError, AttributeError):
            continue
        if isinstance(name, str):
            return name
    return None


def _other_version(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"a model of another version of tag2mask ({reason})",
        where=path,
        fix="Use the version that wrote it, or train again.",
    )
