"""A segmentation network exported to ONNX, run by onnxruntime on the CPU without torch.

The file is self-contained: classes and input normalization are in its metadata. Each calling thread
computes its own image, as with `TorchSegmenter` on a CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from tag2mask.artifacts.checksums import check_model_file
from tag2mask.classes import ClassSet
from tag2mask.errors import DataError, DeviceError, PackageError, WeightsError
from tag2mask.runtime.threads import MAX_THREADS, omp_threads, processors
from tag2mask.segmentation.inference.export_spec import IMAGE, KEY, LOGITS, ExportedSpec
from tag2mask.segmentation.inference.label_loops import Float32
from tag2mask.segmentation.inference.segmenter import channel_softmax

_FIX = "Give a file that `tag2mask export` wrote."


class OnnxSegmenter:
    """A `Segmenter` that runs an ONNX file.

    Args:
        session: onnxruntime's session of a network that returns logits.
        spec: specification in the file's metadata.
        caller_threads: number of threads that will call `probabilities`.

    Example:
        >>> segmenter = OnnxSegmenter.open(Path("export/model.onnx"))  # doctest: +SKIP
        >>> segmenter.probabilities(np.zeros((1, 3, 64, 96), np.float32)).shape  # doctest: +SKIP
        (1, 21, 64, 96)
    """

    batched = False
    takes_any_size = False

    def __init__(self, session: Any, spec: ExportedSpec, caller_threads: int) -> None:
        self.spec = spec
        self.classes = ClassSet(spec.classes)
        self.mean, self.std = spec.mean, spec.std
        self.size_multiple, self.long_side = spec.size_multiple, spec.long_side
        self.caller_threads = caller_threads
        self._session = session

    @classmethod
    def open(cls, file: Path, *, threads: int = 0, caller_threads: int | None = None) -> Self:
        """Open a file written by ``tag2mask export``.

        Args:
            file: the ``.onnx`` file.
            threads: CPU threads; 0: ``OMP_NUM_THREADS`` if set, else one per core.
            caller_threads: number of threads that will call `probabilities`; None: enough to keep
                the processors busy. The remaining threads are used inside the calls.

        Raises:
            PackageError: onnxruntime isn't installed.
            WeightsError: missing, not ONNX, truncated, not exported by tag2mask, exported by an
                incompatible version, or an ONNX version that onnxruntime doesn't support.
        """
        threads = threads or omp_threads() or processors()
        caller_threads = caller_threads or min(threads, MAX_THREADS)
        session = _session(file, threads=max(1, threads - caller_threads + 1))
        metadata = _metadata(session, file)
        if KEY not in metadata:
            raise WeightsError(
                "this ONNX file holds no network of tag2mask, or is truncated", where=file, fix=_FIX
            )
        spec = ExportedSpec.from_json(metadata[KEY], where=file)
        names = [
            [node.name for node in nodes] for nodes in (session.get_inputs(), session.get_outputs())
        ]
        channels = session.get_outputs()[0].shape[1:2]
        if names != [[IMAGE], [LOGITS]] or (
            isinstance(channels[0], int) and channels[0] != len(spec.classes) + 1
        ):
            raise WeightsError(
                "the file's network doesn't match its specification",
                where=file,
                fix="Export the network again.",
            )
        try:
            return cls(session, spec, caller_threads)
        except DataError as error:
            raise WeightsError(
                f"the file has invalid class names: {error.what}",
                where=file,
                fix="Export the network again.",
            ) from None

    def probabilities(self, images: Float32) -> Float32:
        """See `Segmenter.probabilities`."""
        return channel_softmax(self.logits(images))

    def logits(self, images: Float32) -> Float32:
        """Return the logits, float32 (b, C+1, h, w), of images as for `probabilities`.

        Raises:
            DeviceError: out of memory.
        """
        try:
            found: Float32 = self._session.run([LOGITS], {IMAGE: np.ascontiguousarray(images)})[0]
            return found
        # onnxruntime has no exception class of its own for this.
        except Exception as error:
            if isinstance(error, MemoryError) or "alloc" in str(error):
                raise DeviceError(
                    "the machine ran out of memory", fix="Lower predict.tile."
                ) from error
            raise


def _session(file: Path, *, threads: int) -> Any:
    """Create onnxruntime's session, without its log messages."""
    try:
        import onnxruntime
    except ImportError:
        raise PackageError(
            "an ONNX network needs onnxruntime, which is not installed",
            where=file,
            fix="Install the extra onnx: pip install '.[onnx]' in the project's folder.",
        ) from None
    if not file.is_file():
        raise WeightsError("no such model file", where=file, fix=_FIX)
    check_model_file(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # it caches one pattern for each image size
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error)
        if "IR version" in reason or (
            "opset" in reason.lower() and "missing opset" not in reason.lower()
        ):
            raise WeightsError(
                f"onnxruntime {onnxruntime.__version__} doesn't support this version of ONNX",
                where=file,
                fix="Update it: pip install --upgrade onnxruntime. Or export the "
                "network again with the packages installed here.",
            ) from None
        raise WeightsError("not an ONNX file, or truncated", where=file, fix=_FIX) from None


def _metadata(session: Any, file: Path) -> dict[str, str]:
    """Return the file's metadata.

    Raises:
        WeightsError: it isn't UTF-8.
    """
    try:
        found: dict[str, str] = session.get_modelmeta().custom_metadata_map
        return found
    except UnicodeDecodeError:
        raise WeightsError("the file's metadata is damaged", where=file, fix=_FIX) from None
