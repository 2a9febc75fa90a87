"""What a step folder was made from, and how that differs from what it would be made from now."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from tag2mask.artifacts.files import digest
from tag2mask.artifacts.handles import STEPS, Handle, missing_files, section_name
from tag2mask.artifacts.manifest import STARTED, Identity, Input, Manifest, read_identity
from tag2mask.artifacts.module_source import source_inputs
from tag2mask.errors import RunFolderError

DELETED = "deleted"
"""Identity of a folder whose deletion has begun."""
_SETTINGS = " settings"
"""Ends the name of the input that holds the identity of a coverage folder."""


@dataclass(frozen=True)
class FolderStatus:
    """The state of a step's folder.

    Attributes:
        state: missing, partial, fresh (complete, and its inputs are unchanged) or stale.
        reasons: why it is stale, one difference each.
        reads: names of its inputs.
        settings: those of the reasons that are settings.
    """

    state: Literal["missing", "partial", "fresh", "stale"]
    reasons: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


def folder_status(
    kind: type[Handle], path: Path | str, section: BaseModel | None = None
) -> FolderStatus:
    """Compare a folder with the current state of what it was made from.

    Args:
        kind: the step that should have written it.
        path: the folder.
        section: the settings to compare with; None: not compared.

    Raises:
        RunFolderError: damaged, written by an earlier version, or the folder of another step.
    """
    folder = Path(path)
    found = read_identity(folder)
    if found is None or found.identity == DELETED:
        return FolderStatus("missing")
    if found.step != kind.step:
        raise RunFolderError(
            f"this folder holds {found.step}, not {kind.step}",
            where=folder,
            fix="Correct the path.",
        )
    if section is not None:
        _check_key_names(found, section, folder)
    settings = (
        ()
        if section is None
        else (
            *_section_differences(found, _dump(section), section),
            *_source_differences(found, section),
        )
    )
    reasons = list(settings)
    reads = found.inputs | found.coverage
    for name, used in reads.items():
        if used.path is None:
            continue
        source = read_identity(folder / used.path)
        if not isinstance(source, Manifest):
            reasons.append(f"{name}: {'missing' if source is None else 'unfinished'} now")
        elif source.fingerprint != used.fingerprint:
            reasons.append(
                f"{name}: changed since ({_short(used.fingerprint)} -> "
                f"{_short(source.fingerprint)})"
            )
    names = tuple(name for name in reads if not name.endswith(_SETTINGS))
    if not isinstance(found, Manifest):
        if reasons and not holds_work(folder):
            return FolderStatus("missing")
        return FolderStatus("partial", tuple(reasons), names, settings)
    if missing := missing_files(kind, folder):
        lost = tuple(f"{name}: missing" for name in missing)
        return FolderStatus("partial", (*lost, *reasons), names, settings)
    return FolderStatus("stale" if reasons else "fresh", tuple(reasons), names, settings)


def is_being_deleted(folder: Path) -> bool:
    """Return whether a deletion of a step's folder has begun and was interrupted."""
    found = read_identity(folder)
    return found is not None and found.identity == DELETED


def holds_work(folder: Path) -> bool:
    """Return whether a step wrote more than ``started.json`` into a folder."""
    return folder.is_dir() and any(
        holds_work(entry) if entry.is_dir() else entry.name != STARTED
        for entry in folder.iterdir()
        if not entry.name.startswith(".")
    )


def identity_of(
    kind: type[Handle],
    folder: Path,
    section: BaseModel | Mapping[str, Any],
    inputs: Mapping[str, Handle | str],
    coverage: Mapping[str, Handle | str],
) -> Identity:
    """Return what the folder would be made from now; the arguments are those of ``step_folder``."""
    values = _dump(section)
    read = {**inputs, **source_inputs(_modules(section), read_identity(folder))}
    input_records = {name: _input(folder, source) for name, source in read.items()}
    for name, source in coverage.items():
        if isinstance(source, Handle):
            own = source.manifest.identity
            input_records[f"{name}{_SETTINGS}"] = Input(fingerprint=own)
    coverage_records = {name: _input(folder, source) for name, source in coverage.items()}
    identity = _sha256(
        {
            "step": kind.step,
            "section": _deciding_values(values, section),
            "inputs": {name: record.fingerprint for name, record in input_records.items()},
        }
    )
    covered = {name: record.fingerprint for name, record in coverage_records.items()}
    return Identity(
        step=kind.step,
        section=values,
        inputs=input_records,
        coverage=coverage_records,
        identity=identity,
        fingerprint=_sha256({"identity": identity, "coverage": covered}) if covered else identity,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _input(folder: Path, source: Handle | str) -> Input:
    if isinstance(source, str):
        return Input(fingerprint=source)
    # Relative, so that a run folder can be moved.
    relative = os.path.relpath(source.path.absolute(), folder.absolute())
    return Input(path=Path(relative).as_posix(), fingerprint=source.fingerprint)


def file_input(key: str, file: Path, out: Path) -> dict[str, str]:
    """Return the digest of a file as an input of a step's folder.

    The settings hold only its path, and the file may be replaced. A deleted file can't be compared;
    then the digest in ``out`` is returned, so that a finished training stays usable.

    Args:
        key: name of the input.
        file: the file.
        out: the step's folder.
    """
    if file.is_file():
        return {key: digest(file)}
    found = read_identity(out)
    known = found.inputs.get(key) if found is not None else None
    return {} if known is None else {key: known.fingerprint}


def check_same_identity(
    kind: type[Handle],
    found: Identity,
    wanted: Identity,
    section: BaseModel | Mapping[str, Any],
    folder: Path,
) -> None:
    """Raise a RunFolderError that names each key that differs, unless the identities are equal."""
    if found.step != wanted.step:
        raise RunFolderError(
            f"this folder holds {found.step}, not {wanted.step}",
            where=folder,
            fix="Give another --out.",
        )
    if found.identity == wanted.identity:
        return
    _check_key_names(found, section, folder)
    differences = _section_differences(found, wanted.section, section)
    imported = ["imported" in identity.section for identity in (found, wanted)]
    if imported[0] != imported[1]:  # else every setting of a training would be listed
        differences = [
            "it holds an imported network" if imported[0] else "it holds a network that was trained"
        ]
    for name in sorted({*found.inputs, *wanted.inputs}):
        old, new = found.inputs.get(name), wanted.inputs.get(name)
        old_text, new_text = _fingerprint_text(old), _fingerprint_text(new)
        if old_text != new_text:
            differences.append(f"input {name}: {old_text} -> {new_text}")
    if not differences:  # what counts as a setting has changed
        differences.append("it was made by another version of tag2mask")
    data_only = all(
        difference.startswith(("input data", "input labels")) for difference in differences
    )
    lost = missing_files(kind, folder) if isinstance(found, Manifest) else []
    update = (
        "`tag2mask run --update` keeps the trained model and redoes only what the data "
        "changed. Else g"
        if data_only and not lost
        else "G"
    )
    redo = f"`tag2mask run --redo {kind.step}`, " if kind in STEPS else ""
    raise RunFolderError(
        f"{wanted.step} was made with other settings or inputs: "
        + "; ".join([*(f"{name} is missing" for name in lost), *differences]),
        where=folder,
        fix=f"{update}ive another --out, go back to the old settings, or run it again: "
        f"{redo}`tag2mask {kind.step} --redo`, or delete the folder.",
    )


def _check_key_names(found: Identity, section: BaseModel | Mapping[str, Any], folder: Path) -> None:
    """Check that a folder's settings have the current names.

    Raises:
        RunFolderError: naming the keys of an earlier version and what they are called now.
    """
    renamed: Mapping[str, str] = getattr(type(section), "renamed_keys", {})
    prefix = section_name(found.step)
    names = _renamed(found.section, _dump(section), renamed, f"{prefix}.")
    if names:
        raise RunFolderError(
            f"{found.step} was written by an earlier version of tag2mask: "
            + ", ".join(f"{old} is now called {new}" for old, new in names),
            where=folder,
            fix="Give another --out, or delete the folder.",
        )


def _renamed(
    values: Mapping[str, Any], current: Mapping[str, Any], renamed: Mapping[str, str], prefix: str
) -> list[tuple[str, str]]:
    """Return the dotted old and new names of renamed keys."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        new = renamed.get(key)
        inner = current.get(key)
        if key not in current and new in current:
            found.append((f"{prefix}{key}", f"{prefix}{new}"))
        elif isinstance(value, Mapping) and isinstance(inner, Mapping):
            found += _renamed(value, inner, renamed, f"{prefix}{key}.")
    return found


def _section_differences(
    found: Identity, values: Mapping[str, Any], section: BaseModel | Mapping[str, Any]
) -> list[str]:
    old = _flat(_deciding_values(found.section, section))
    new = _flat(_deciding_values(values, section))
    prefix = section_name(found.step)
    return [
        f"{prefix}.{key}: {_value_text(old, key)} -> {_value_text(new, key)}"
        for key in sorted({*old, *new})
        if _value_text(old, key) != _value_text(new, key)
    ]


def _source_differences(found: Identity, section: BaseModel) -> Iterator[str]:
    """Yield the classes of the user's own whose sources have changed since."""
    modules = _modules(section)
    for key, source in source_inputs(modules, found).items():
        known = found.inputs.get(key)
        if known is not None and known.fingerprint != source:
            prefix = section_name(found.step)
            yield f"{prefix}.{key}: the source of {modules[key]} has changed"


def _modules(section: BaseModel | Mapping[str, Any]) -> dict[str, str]:
    own: Callable[[], dict[str, str]] = getattr(section, "modules", dict)
    return own()


def _dump(section: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    values = section.model_dump(mode="json") if isinstance(section, BaseModel) else dict(section)
    # Through JSON, so that a tuple equals the list in a manifest.
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _deciding_values(
    values: Mapping[str, Any], section: BaseModel | Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values that decide a step's result.

    Left out are the section's ``not_identity`` keys, and its ``added_keys`` with the value that
    means what was done before the key existed.
    """
    free: frozenset[str] = getattr(type(section), "not_identity", frozenset())
    added: Mapping[str, Any] = getattr(type(section), "added_keys", {})

    def decides(key: str, value: Any) -> bool:
        return key not in free and not (key in added and value == added[key])

    return _selected(values, decides, "")


def _selected(
    values: Mapping[str, Any], decides: Callable[[str, Any], bool], prefix: str
) -> dict[str, Any]:
    """Return the values for which ``decides(dotted key, value)`` holds, of inner sections too.

    An inner section of which nothing is left is left out itself.
    """
    selected = {}
    for key, value in values.items():
        if decides(prefix + key, value):
            inner = isinstance(value, Mapping) and bool(value)
            kept = _selected(value, decides, f"{prefix}{key}.") if inner else value
            if kept or not inner:
                selected[key] = kept
    return selected


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _value_text(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "(absent)"


def _fingerprint_text(record: Input | None) -> str:
    return "(absent)" if record is None else _short(record.fingerprint)


def _short(fingerprint: str) -> str:
    return fingerprint if len(fingerprint) <= 24 else f"{fingerprint[:8]}.."


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
