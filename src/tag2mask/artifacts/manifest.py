"""Records of a step folder: its identity (what it was made from) and its manifest.

An identity is the step, its section of the recipe and fingerprints of what it read; two folders are
the same exactly when their identities are. ``step_folder`` writes these files and explains the
rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, field_validator
from pydantic_core import to_jsonable_python

from tag2mask.errors import MissingFileError, RunFolderError
from tag2mask.files.json_file import read_json

MANIFEST = "manifest.json"
STARTED = "started.json"


class Input(BaseModel):
    """One input of a folder."""

    model_config = ConfigDict(frozen=True)

    path: str | None = None
    """Its folder, relative to the step's folder; None for a plain value."""
    fingerprint: str


class Identity(BaseModel):
    """What a folder was made from (``started.json``)."""

    model_config = ConfigDict(frozen=True)

    step: str
    section: dict[str, Any]
    """The step's section of the recipe, every key."""
    inputs: dict[str, Input] = {}
    coverage: dict[str, Input] = {}
    identity: str
    """sha256 of step, section and inputs."""
    fingerprint: str
    """sha256 of the identity and the coverage."""
    started: str
    """UTC, ISO 8601."""
    seconds: float = 0.0
    """Time spent so far, without attempts that were killed."""


class ReadMetrics(BaseModel):
    """Types of the metrics that are read again, checked for all readers; a step may have others.

    ``docs/how-to/parts.md`` lists them.
    """

    model_config = ConfigDict(strict=True)

    alpha: float = 0.0
    alphas: list[float] = []
    background_source: str = ""
    background_threshold: float | None = None
    calibration_photos: list[str] = []
    class_thresholds: dict[str, float] = {}
    classes: list[str] = []
    imported: str = ""
    masks_made_by: str = ""
    understood: list[str] = []
    warnings: list[str] = []
    without_sure_pixels: list[str] = []
    without_tagged_pixels: list[str] = []


def recorded_metrics(metrics: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return metrics as the JSON values that the manifest of a folder will hold.

    Raises:
        RunFolderError: one is no JSON value, or of another type than in `ReadMetrics`.
    """
    found = {}
    for key, value in metrics.items():
        try:
            found[key] = to_jsonable_python(value, inf_nan_mode="null")
            ReadMetrics.model_validate({key: found[key]})
        except ValueError as error:  # pydantic's and its serializer's
            what = _problem(error) if isinstance(error, ValidationError) else f"{key}: {error}"
            raise RunFolderError(
                f"a metric can't be recorded ({what})",
                where=folder,
                fix="Give it another name or value: docs/how-to/parts.md lists the names with a "
                "type of their own.",
            ) from None
    return found


class Manifest(Identity):
    """The record of a complete folder (``manifest.json``)."""

    tag2mask: str
    counts: dict[str, int] = {}
    skipped: tuple[str, ...] = ()
    """Skipped photos, each with its reason."""
    files: dict[str, str] = {}
    """sha256 (hex) of each model file, by name."""
    versions: dict[str, str] = {}
    metrics: dict[str, Any] = {}

    @field_validator("metrics")
    @classmethod
    def _types(cls, metrics: dict[str, Any]) -> dict[str, Any]:
        ReadMetrics.model_validate(metrics)
        return metrics


def read_identity(folder: Path) -> Identity | None:
    """Return the manifest of a complete folder, the identity of a partial one, or None.

    Raises:
        RunFolderError: the file is damaged.
    """
    records: tuple[tuple[str, type[Identity]], ...] = ((MANIFEST, Manifest), (STARTED, Identity))
    for name, kind in records:
        try:
            return read_record(folder / name, kind)
        except MissingFileError:
            continue  # not read twice: another rank may have written it meanwhile
    return None


def not_of_step(found: Identity, wanted: str, folder: Path, fix: str) -> RunFolderError:
    """Return the error of a folder that holds another step than ``wanted``."""
    return RunFolderError(f"this folder holds {found.step}, not {wanted}", where=folder, fix=fix)


RecordT = TypeVar("RecordT")


def read_record(
    path: Path, kind: type[RecordT], *, fix: str = "Delete its folder and run the step again."
) -> RecordT:
    """Read a pydantic model or a dataclass from its JSON file.

    Args:
        path: the file.
        kind: the class; its annotations are checked, with their limits.
        fix: what to do about a damaged file.

    Raises:
        MissingFileError: no such file.
        RunFolderError: the file is damaged.
    """
    values = read_json(path)
    try:
        found: RecordT = TypeAdapter(kind).validate_python(values)
        return found
    except ValidationError as error:
        raise RunFolderError(
            f"not a {path.name} of tag2mask ({_problem(error)})", where=path, fix=fix
        ) from None


def _problem(error: ValidationError) -> str:
    """Return the first problem, with the key that it is about, and how many more there are."""
    first, *more = error.errors(include_url=False)
    key = ".".join(map(str, first["loc"]))
    named = f"{key}: {first['msg']}" if key else first["msg"]
    return f"{named}; {len(more)} more" if more else named
