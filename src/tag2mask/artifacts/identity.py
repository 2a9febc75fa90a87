"""What a step folder was made from, and how that differs from what it would be made from now."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from tag2mask.artifacts.differences import (
    check_key_names,
    input_differences,
    section_differences,
    short_fingerprint,
    source_differences,
)
from tag2mask.artifacts.handles import (
    IMPORTED,
    Handle,
    PseudoMaskFolder,
    missing_files,
    section_name,
)
from tag2mask.artifacts.manifest import (
    STARTED,
    Identity,
    Input,
    Manifest,
    not_of_step,
    read_identity,
)
from tag2mask.artifacts.module_source import source_inputs
from tag2mask.artifacts.section_values import deciding_values, own_modules, plain_values
from tag2mask.artifacts.step_table import STEPS
from tag2mask.artifacts.sub_folders import SUB_FOLDERS
from tag2mask.errors import RunFolderError
from tag2mask.files.digests import digest

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
        raise not_of_step(found, kind.step, folder, "Correct the path.")
    if section is not None:
        check_key_names(found, section, folder)
    settings = (
        ()
        if section is None
        else (
            *section_differences(found, plain_values(section), section),
            *source_differences(found, section),
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
                f"{name}: changed since ({short_fingerprint(used.fingerprint)} -> "
                f"{short_fingerprint(source.fingerprint)})"
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
    """Return whether a step wrote more than its first records into a folder."""
    return folder.is_dir() and any(
        holds_work(entry) if entry.is_dir() else entry.name not in (STARTED, SUB_FOLDERS)
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
    values = plain_values(section)
    read = {**inputs, **source_inputs(own_modules(section), read_identity(folder))}
    input_records = {name: _input(folder, source) for name, source in read.items()}
    for name, source in coverage.items():
        if isinstance(source, Handle):
            own = source.manifest.identity
            input_records[f"{name}{_SETTINGS}"] = Input(fingerprint=own)
    coverage_records = {name: _input(folder, source) for name, source in coverage.items()}
    identity = _sha256(
        {
            "step": kind.step,
            "section": deciding_values(values, section),
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
        raise not_of_step(found, wanted.step, folder, "Give another --out.")
    if found.identity == wanted.identity:
        return
    check_key_names(found, section, folder)
    differences = section_differences(found, wanted.section, section)
    was_imported, is_imported = (IMPORTED in identity.section for identity in (found, wanted))
    if was_imported != is_imported:  # else every setting would be listed
        differences = [f"it holds {_what_it_holds(kind, imported=was_imported)}"]
    differences += input_differences(found, wanted)
    if not differences:  # what counts as a setting has changed
        differences.append("it was made by another version of tag2mask")
    if kind is PseudoMaskFolder and is_imported:
        options = [text.removeprefix(f"{section_name(found.step)}.") for text in differences]
        raise RunFolderError(
            f"masks were imported here in another way: {'; '.join(options)}"
            if was_imported
            else differences[0],
            where=folder,
            fix="Give another --out, or delete the folder to import these masks into it.",
        )
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


def _what_it_holds(kind: type[Handle], *, imported: bool) -> str:
    if kind is PseudoMaskFolder:
        return "imported masks" if imported else "masks that were made from maps"
    return "an imported network" if imported else "a network that was trained"


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
