"""Open a trained segmentation network by path: a run, a step's folder, or a file of torch or ONNX.

torch is imported only for networks of torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import Export, SegmenterModel
from tag2mask.artifacts.manifest import read_identity
from tag2mask.errors import DeviceError, RunFolderError, WeightsError
from tag2mask.segmentation.inference.export_spec import ONNX_FILE
from tag2mask.segmentation.inference.segmenter import Segmenter

if TYPE_CHECKING:
    import torch

    from tag2mask.runtime.precision import Precision
    from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter


ONNX = ".onnx"
_TORCH = (".safetensors", ".pth")
_PROGRAM = ".pt2"
_DEVICES = ("auto", "cpu", "cuda", "mps")


def segmenter_file(path: Path) -> Path:
    """Return the network's file.

    Args:
        path: a run folder, the folder of ``train-segmenter`` or ``export``, or the file.

    Raises:
        RunFolderError: the folder has no finished ``train-segmenter``.
        WeightsError: no such file, or it isn't a model file.
    """
    if path.is_dir():
        found = read_identity(path)
        if (path / ONNX_FILE).is_file():  # exported; of a copied folder only the files may be left
            return path / ONNX_FILE
        if found is not None and found.step == Export.step:
            raise RunFolderError(
                "this folder holds an exported network, but no ONNX file",
                where=path,
                fix="Export it with --format onnx, or give the run that it was exported from.",
            )
        step = path / SegmenterModel.step
        if found is not None or step.is_dir():
            return SegmenterModel.open(path if found is not None else step).file
        raise RunFolderError(
            f"no {SegmenterModel.step} in this folder",
            where=path,
            fix=f"Give a run with this step, the folder written by `tag2mask "
            f"{SegmenterModel.step}`, or a model file.",
        )
    fix = f"Give a run folder, or a file ({', '.join((*_TORCH, ONNX))})."
    if not path.is_file():
        raise WeightsError("no such model", where=path, fix=fix)
    if path.suffix.lower() == _PROGRAM:
        raise WeightsError(
            "this exported network can only be used by torch.export.load",
            where=path,
            fix="Give the ONNX file next to it, or the run that it was exported from.",
        )
    if path.suffix.lower() not in (*_TORCH, ONNX):
        raise WeightsError(
            f"{path.suffix or path.name!r} isn't a kind of model file", where=path, fix=fix
        )
    return path


def is_onnx(file: Path) -> bool:
    """Return whether a file is an ONNX file, by its suffix."""
    return file.suffix.lower() == ONNX


def trained_file(path: Path) -> Path:
    """Return the file of a network with trainable weights, as `segmenter_file`.

    Raises:
        RunFolderError: as `segmenter_file`.
        WeightsError: as `segmenter_file`, or an exported network.
    """
    file = segmenter_file(path)
    check_not_exported(file)
    return file


def check_not_exported(file: Path) -> None:
    """Check that a file is not an exported network, whose weights can't be loaded.

    Raises:
        WeightsError: it is an exported network.
    """
    if file.suffix.lower() in (ONNX, _PROGRAM):
        raise WeightsError(
            "this network is already exported",
            where=file,
            fix="Give the run or the model.safetensors that it was exported from.",
        )


def open_segmenter(
    path: Path,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    caller_threads: int | None = None,
) -> Segmenter:
    """Open a trained network.

    Args:
        path: a run folder, the folder of ``train-segmenter``, or the file.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, or a device of torch such as ``cuda:1``. ONNX
            networks only run on the CPU.
        precision: precision of the forward pass; ONNX networks only have 32 bits.
        caller_threads: threads that will call the network at once; None: as many as keep the
            device busy.

    Raises:
        RunFolderError: as `segmenter_file`.
        WeightsError: as `segmenter_file`; also truncated, not a segmentation network, of another
            version, or weights that aren't finite.
        DeviceError: no such device, or a precision that it doesn't support.
    """
    file = segmenter_file(path)
    if is_onnx(file):
        return open_onnx(file, device=device, precision=precision, caller_threads=caller_threads)
    from tag2mask.nn.weights import check_finite_weights
    from tag2mask.segmentation.networks import load_segmenter
    from tag2mask.segmentation.torch_segmenter import TorchSegmenter

    torch_device = _torch_device(device)
    net, spec = load_segmenter(file)
    check_finite_weights(net, where=file, setting="train_segmenter.optimizer.lr")
    return TorchSegmenter(
        net, spec.class_set, spec.long_side, torch_device, precision, caller_threads=caller_threads
    )


def open_onnx(
    file: Path,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int = 0,
    caller_threads: int | None = None,
) -> OnnxSegmenter:
    """Open an exported network; other arguments and errors are those of `open_segmenter`.

    ``threads`` is the number of CPU threads; 0: one per core.
    """
    from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter

    if device not in ("auto", "cpu") or precision not in ("auto", "32"):
        raise DeviceError(
            f"an ONNX network runs on the CPU in 32 bits, not on {device} in {precision}",
            where=file,
            fix="Leave device and precision at auto, or give its run.",
        )
    return OnnxSegmenter.open(file, threads=threads, caller_threads=caller_threads)


def _torch_device(name: str) -> torch.device:
    import torch

    from tag2mask.runtime.devices import pick_device

    kind, _, index = name.partition(":")
    if kind not in _DEVICES or (index and not index.isdigit()):
        raise DeviceError(
            f"no device {name!r}",
            where="device",
            fix=f"Choose one of {', '.join(_DEVICES)}, or cuda:1 and so on.",
        )
    kind = pick_device(kind, int(index or 0) + 1)
    return torch.device(f"{kind}:{index}" if index else kind)
