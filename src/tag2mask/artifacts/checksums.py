"""Checksums of model files: recorded in the manifest of their folder, compared on reading.

One changed bit of a weight changes masks without any error. A file without a record, such as one
from elsewhere, isn't checked.
"""

from __future__ import annotations

from pathlib import Path

from tag2mask.errors import RunFolderError, WeightsError
from tag2mask.files.digests import digest

MODEL_SUFFIXES = frozenset({".safetensors", ".onnx", ".pt2"})
"""Suffixes of the model files that steps write."""


def model_checksums(folder: Path) -> dict[str, str]:
    """Return the sha256 (hex) of each model file in a folder, by name."""
    files = (path for path in sorted(folder.iterdir()) if path.suffix in MODEL_SUFFIXES)
    return {path.name: digest(path) for path in files if path.is_file()}


def check_model_file(file: Path) -> None:
    """Check that a model file is the one that the manifest of its folder records.

    Raises:
        WeightsError: it has another sha256.
    """
    from tag2mask.artifacts.manifest import Manifest, read_identity

    try:
        found = read_identity(file.parent)
    except RunFolderError:  # a manifest.json of another program
        return
    recorded = found.files.get(file.name) if isinstance(found, Manifest) else None
    if found is not None and recorded is not None and digest(file) != recorded:
        raise WeightsError(
            "the file was damaged or replaced: its sha256 is not the one in the manifest",
            where=file,
            fix=f"Put the file back, or run {found.step} again with --redo.",
        )
