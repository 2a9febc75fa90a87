"""A trained segmentation network by its path: a run, a step's folder or a file, torch or ONNX.

Torch is imported where the network needs it, and not for a file of ONNX.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import Export, SegmenterModel
from tag2mask.artifacts.manifest import read_identity
from tag2mask.errors import DeviceError, RunFolderError, WeightsError
from tag2mask.segmentation.inference.segmenter import Segmenter

if TYPE_CHECKING:
    import torch

    from tag2mask.runtime.precision import Precision


ONNX = ".onnx"
_TORCH = (".safetensors", ".pth")
_PROGRAM = ".pt2"
_DEVICES = ("auto", "cpu", "cuda", "mps")


def segmenter_file(path: Path) -> Path:
    """The file of the network that a path means.

    Args:
        path: a run folder, the folder that ``train-segmenter`` wrote, or the file itself.

    Raises:
        RunFolderError: a folder without a finished ``train-segmenter``.
        WeightsError: no such file, or one of another kind.
    """
    if path.is_dir():
        found = read_identity(path)
        if found is not None and found.step == Export.step:
            raise RunFolderError(
                "this folder holds an exported network",
                where=path,
                fix="Give the file of ONNX in it, or the run it comes from.",
            )
        step = path / SegmenterModel.step
        if found is not None or step.is_dir():
            return SegmenterModel.open(path if found is not None else step).file
        raise RunFolderError(
            f"no {SegmenterModel.step} in this folder",
            where=path,
            fix=f"Give a run that has it, the folder that `tag2mask "
            f"{SegmenterModel.step}` wrote, or a model file.",
        )
    fix = f"Give a run folder, or a file ({', '.join((*_TORCH, ONNX))})."
    if not path.is_file():
        raise WeightsError("no such model", where=path, fix=fix)
    if path.suffix.lower() == _PROGRAM:
        raise WeightsError(
            "this exported network is for torch.export.load alone",
            where=path,
            fix="Give the file of ONNX beside it, or the run it comes from.",
        )
    if path.suffix.lower() not in (*_TORCH, ONNX):
        raise WeightsError(
            f"{path.suffix or path.name!r} is no kind of model file", where=path, fix=fix
        )
    return path


def is_onnx(file: Path) -> bool:
    """Whether a network's file is one of ONNX."""
    return file.suffix.lower() == ONNX


def trained_file(path: Path) -> Path:
    """The file of a network with its weights: as `segmenter_file`, but for exported ones.

    Raises:
        RunFolderError: as `segmenter_file`.
        WeightsError: likewise, or an exported network.
    """
    file = segmenter_file(path)
    check_not_exported(file)
    return file


def check_not_exported(file: Path) -> None:
    """Refuse a file whose weights can't be taken out.

    Raises:
        WeightsError: it is an exported network.
    """
    if file.suffix.lower() in (ONNX, _PROGRAM):
        raise WeightsError(
            "this network is exported already",
            where=file,
            fix="Give the run or the model.safetensors that it comes from.",
        )


def open_segmenter(
    path: Path,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int = 0,
    caller_threads: int | None = None,
) -> Segmenter:
    """Read a trained network.

    Args:
        path: as for `segmenter_file`.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, or a device of torch (``cuda:1``). ONNX runs
            on the CPU alone.
        precision: of the forward pass; ONNX has 32 bits alone.
        threads: CPU threads of a network of ONNX; 0: one a core. One of torch takes as many as
            torch is set to.
        caller_threads: threads that will call the network at once; None: as many as keep the
            device busy.

    Raises:
        RunFolderError: as `segmenter_file`.
        WeightsError: likewise; cut off, not a segmentation network, of another version, or not
            finite.
        DeviceError: no such device, or precision on it.
    """
    file = segmenter_file(path)
    if is_onnx(file):
        from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter

        if device not in ("auto", "cpu") or precision not in ("auto", "32"):
            raise DeviceError(
                f"a network of ONNX is computed on the CPU in 32 bits, not on "
                f"{device} in {precision}",
                where=file,
                fix="Leave device and precision at auto, or give the run that it comes from.",
            )
        return OnnxSegmenter.open(file, threads=threads, caller_threads=caller_threads)
    from tag2mask.nn.weights import check_finite_weights
    from tag2mask.segmentation.networks import load_segmenter
    from tag2mask.segmentation.torch_segmenter import TorchSegmenter

    place = _torch_device(device)
    net, spec = load_segmenter(file)
    check_finite_weights(net, where=file, setting="train_segmenter.optimizer.lr")
    return TorchSegmenter(
        net, spec.class_set, spec.long_side, place, precision, caller_threads=caller_threads
    )


def _torch_device(name: str) -> torch.device:
    import torch

    from tag2mask.runtime.session import pick_device

    kind, _, index = name.partition(":")
    if kind not in _DEVICES or (index and not index.isdigit()):
        raise DeviceError(
            f"no device {name!r}",
            where="device",
            fix=f"One of {', '.join(_DEVICES)}, or cuda:1 and so on.",
        )
    kind = pick_device(kind, int(index or 0) + 1)
    return torch.device(f"{kind}:{index}" if index else kind)
