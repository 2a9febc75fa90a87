"""A segmentation network exported to ONNX, as the `Segmenter` that photos are labeled with.

onnxruntime computes it on the CPU; neither torch nor anything that trains is imported. The file
alone suffices: its metadata says which classes the network tells apart and how it wants its images.

Each calling thread computes an image by itself, as with a network of torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from tag2mask.classes import ClassSet
from tag2mask.errors import DataError, DeviceError, PackageError, WeightsError
from tag2mask.runtime.threads import MAX_THREADS, omp_threads, processors
from tag2mask.segmentation.inference.export_spec import IMAGE, KEY, LOGITS, ExportedSpec
from tag2mask.segmentation.inference.label_loops import Float32

_FIX = "Give a file that `tag2mask export` wrote."


class OnnxSegmenter:
    """A network that gives probabilities; see `Segmenter` for attributes and method.

    Args:
        session: of onnxruntime, whose network gives logits.
        spec: what the file says of it.
        caller_threads: threads that will call.
    """

    batched = False

    def __init__(self, session: Any, spec: ExportedSpec, caller_threads: int) -> None:
        self.spec = spec
        self.classes = ClassSet(spec.classes)
        self.mean, self.std = spec.mean, spec.std
        self.size_multiple, self.long_side = spec.size_multiple, spec.long_side
        self.caller_threads = caller_threads
        self._session = session

    @classmethod
    def open(cls, file: Path, *, threads: int = 0, caller_threads: int | None = None) -> Self:
        """Read a file that ``tag2mask export`` wrote.

        Args:
            file: the ``.onnx`` file.
            threads: CPU threads; 0: what ``OMP_NUM_THREADS`` says, else one a core.
            caller_threads: threads that will call; None: as many as keep the processors busy. The
                session's other threads help whoever calls.

        Raises:
            PackageError: onnxruntime is not installed.
            WeightsError: missing, not ONNX, cut off, not exported by tag2mask, of another version
                of it, or of an ONNX that this onnxruntime doesn't know.
        """
        threads = threads or omp_threads() or processors()
        caller_threads = caller_threads or min(threads, MAX_THREADS)
        session = _session(file, threads=max(1, threads - caller_threads + 1))
        metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        if KEY not in metadata:
            raise WeightsError(
                "this ONNX file holds no network of tag2mask, or is cut off", where=file, fix=_FIX
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
                "the file's network and what it says of it don't belong together",
                where=file,
                fix="Export the network again.",
            )
        try:
            return cls(session, spec, caller_threads)
        except DataError as error:
            raise WeightsError(
                f"the file names impossible classes: {error.what}",
                where=file,
                fix="Export the network again.",
            ) from None

    def probabilities(self, images: Float32) -> Float32:
        """See `Segmenter.probabilities`."""
        return _softmax(self.logits(images))

    def logits(self, images: Float32) -> Float32:
        """The network's own answer, float32 (b, C+1, h, w); images as for `probabilities`.

        Raises:
            DeviceError: out of memory.
        """
        try:
            found: Float32 = self._session.run([LOGITS], {IMAGE: np.ascontiguousarray(images)})[0]
            return found
        # onnxruntime's exceptions have no class of their own for this.
        except Exception as error:
            if isinstance(error, MemoryError) or "alloc" in str(error):
                raise DeviceError(
                    "the machine ran out of memory", fix="Lower predict.tile."
                ) from error
            raise


def _session(file: Path, *, threads: int) -> Any:
    """The network, ready to run; onnxruntime's own messages stay silent."""
    try:
        import onnxruntime
    except ImportError:
        raise PackageError(
            "a network of ONNX needs onnxruntime, which is not installed",
            where=file,
            fix="pip install 'tag2mask[onnx]'",
        ) from None
    if not file.is_file():
        raise WeightsError("no such model file", where=file, fix=_FIX)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # it keeps one for each size of images that it ever saw
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error)
        if "IR version" in reason or (
            "opset" in reason.lower() and "missing opset" not in reason.lower()
        ):
            raise WeightsError(
                f"onnxruntime {onnxruntime.__version__} doesn't know this version of ONNX",
                where=file,
                fix="Update it: pip install --upgrade onnxruntime. Or export the "
                "network again, with the packages installed here.",
            ) from None
        raise WeightsError("not a file of ONNX, or cut off", where=file, fix=_FIX) from None


def _softmax(logits: Float32) -> Float32:
    """Over the channels, in place."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits
