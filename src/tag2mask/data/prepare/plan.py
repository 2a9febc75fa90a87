"""What ``prepare`` would write: the listed data, checked and compared with an earlier index.

Nothing is written here, so that a dry run can call it. Only the headers of new and changed photos
are read; masks are checked in full, see `tag2mask.data.prepare.measure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from tag2mask.artifacts.handles import UNDERSTOOD, PreparedData
from tag2mask.artifacts.identity import folder_status
from tag2mask.artifacts.items import SkippedItems
from tag2mask.artifacts.manifest import Manifest, read_identity
from tag2mask.classes import ClassSet
from tag2mask.data.checks.inventory import inventory_problems
from tag2mask.data.checks.understood import understood
from tag2mask.data.corrections.check import correction_problems
from tag2mask.data.corrections.folder import (
    NO_CORRECTIONS,
    Corrections,
    corrections_of,
)
from tag2mask.data.index import MaskRow, all_samples
from tag2mask.data.inventory import DataProblem, Inventory, SourceOptions
from tag2mask.data.prepare.index_changes import (
    PreparedIndex,
    Samples,
    index_changes,
    read_prepared_index,
)
from tag2mask.data.prepare.listing import VALIDATION_DRAWN, list_data
from tag2mask.data.prepare.measure import listed_sample, measure_photos
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataChangedError, DataError, ProblemsError
from tag2mask.recipe.sections import Prepare

_UNREAD = (1, 1)
"""Size of a photo that was not opened."""


@dataclass(frozen=True)
class PreparePlan:
    """What ``prepare`` would write.

    Attributes:
        inventory: the data as listed.
        samples: the photos of each split.
        masks: one row per photo with a mask.
        skipped: unreadable photos, each as ``id: reason``.
        understood: what was understood of the data, in five lines.
        warnings: problems that don't stop a run.
        before: the index in the folder, complete or not; None: none.
        changes: what changed in photos, tags and classes since the folder was completed.
        corrections_changed: whether the folder has other corrections, or a damaged copy of them.
    """

    inventory: Inventory
    samples: Samples
    masks: tuple[MaskRow, ...]
    skipped: tuple[str, ...]
    understood: tuple[str, ...]
    warnings: tuple[str, ...]
    before: PreparedIndex | None
    changes: tuple[str, ...]
    corrections_changed: bool = False

    @property
    def corrections(self) -> Corrections:
        """What a person decided about photos."""
        return self.inventory.corrections or NO_CORRECTIONS

    @property
    def classes(self) -> ClassSet:
        """The foreground classes."""
        return ClassSet(self.inventory.class_names)

    @property
    def classes_changed(self) -> bool:
        """Whether the folder was completed with other classes."""
        before = self.before
        return (
            bool(self.changes)
            and before is not None
            and before.class_names != self.inventory.class_names
        )

    @property
    def masks_changed(self) -> bool:
        """Whether the index in the folder names other masks."""
        return self.before is not None and self.before.masks != self.masks

    @property
    def groups_changed(self) -> bool:
        """Whether the index in the folder names other groups."""
        return self.before is not None and _groups(self.before.samples) != _groups(self.samples)

    @property
    def counts(self) -> dict[str, int]:
        """Counts for the manifest."""
        return (
            {split: len(self.samples[split]) for split in SPLITS}
            | {
                "classes": len(self.inventory.class_names),
                "masks": len(self.masks),
                "skipped": len(self.skipped),
                "untagged": sum(not sample.tags for sample in all_samples(self.samples)),
            }
            | self._correction_counts
        )

    @property
    def _correction_counts(self) -> dict[str, int]:
        decisions = self.corrections.decisions
        if not decisions:
            return {}
        ids = {sample.id for sample in all_samples(self.samples)} & set(decisions)
        return self.corrections.counts(ids) | {
            "bad": sum(decisions[photo].verdict == "bad" for photo in ids),
            "with_corrected_tags": sum(
                bool(decisions[photo].tags_added or decisions[photo].tags_removed) for photo in ids
            ),
        }

    @property
    def metrics(self) -> dict[str, object]:
        """Metrics for the manifest."""
        return {
            "layout": self.inventory.layout,
            UNDERSTOOD: list(self.understood),
            "warnings": list(self.warnings),
        } | ({VALIDATION_DRAWN: self.inventory.drawn} if self.inventory.drawn else {})


def is_prepared(section: Prepare, out: Path) -> bool:
    """Return whether a folder was completed with these settings, whatever the data is now.

    Raises:
        RunFolderError: damaged, or the folder of another step.
    """
    status = folder_status(PreparedData, out, section)
    return status.state in ("fresh", "stale") and not status.settings


def plan_prepare(
    data: Path, inventory: Inventory, section: Prepare, out: Path, *, update: bool = False
) -> PreparePlan:
    """Check the listed data, measure new photos, and compare all with what was prepared before.

    Writes nothing.

    Args:
        data: the data folder.
        inventory: what it holds, from `listing.list_data`.
        section: layout, splits, source of tags.
        out: the step's folder.
        update: accept what has changed since ``out`` was made.

    Raises:
        DataError: no tagged photo to train on.
        ProblemsError: photos, tags or masks with errors.
        DataChangedError: ``out`` was completed from other photos or tags.
    """
    before = read_prepared_index(out)
    samples, masks, found = measure_photos(inventory, before)
    corrections = inventory.corrections or NO_CORRECTIONS
    sizes = {sample.id: sample.size for sample in all_samples(samples)}
    found = found + correction_problems(corrections, sizes, inventory)
    problems = inventory_problems(inventory) + found
    check_problems(problems, data, section)
    skipped = {p.photo: f"{p.photo}: {p.message}" for p in problems if not p.warning}
    usable = inventory
    if skipped:
        kept = tuple(entry for entry in inventory.entries if entry.id not in skipped)
        usable = replace(inventory, entries=kept)
        problems = inventory_problems(usable) + found  # training lacks the skipped photos
        samples = {split: [s for s in samples[split] if s.id not in skipped] for split in SPLITS}
        masks = [row for row in masks if row.id not in skipped]
    if not any(sample.tags for sample in samples["train"]):
        raise DataError(
            "no readable training photo has a tag",
            where=data,
            fix="Replace the unreadable photos.",
        )
    classes = ClassSet(inventory.class_names)
    changes: tuple[str, ...] = ()
    if before is not None and is_prepared(section, out):
        changes = index_changes(before, samples, classes.names)
    if changes and not update:
        raise DataChangedError(
            f"the data changed since it was prepared: {', '.join(changes)}",
            where=out,
            fix="Take the changes in with --update, or give another --out.",
        )
    return PreparePlan(
        inventory,
        samples,
        tuple(masks),
        tuple(skipped.values()),
        understood(usable, SourceOptions.of(section), [row.values for row in masks]),
        tuple(problem.message for problem in problems if problem.warning),
        before,
        changes,
        corrections_changed=corrections.fingerprint() != _fingerprint_in(out),
    )


def changes_since(prepared: Path) -> tuple[str, ...]:
    """Return what changed in the data since a folder was prepared, in numbers; opens no photo.

    Args:
        prepared: a ``prepare/`` folder; one that isn't complete has no changes.

    Raises:
        DataError: data that can't be listed, such as a folder that isn't there any more.
        ProblemsError: tags or photos with errors, which ``prepare`` would refuse.
    """
    found, before = read_identity(prepared), read_prepared_index(prepared)
    if not isinstance(found, Manifest) or before is None:
        return ()
    try:
        section = Prepare.model_validate(found.section)
    except ValidationError:  # of another version, which whatever writes to the folder reports
        return ()
    inventory = list_data(before.root, section, prepared)
    check_problems(inventory_problems(inventory), before.root, section)
    skipped = SkippedItems(found.skipped)
    samples: Samples = {split: [] for split in SPLITS}
    for entry in inventory.entries:
        if entry.image is not None and entry.id not in skipped:
            samples[entry.split].append(listed_sample(inventory, entry, _UNREAD))
    return index_changes(before, samples, inventory.class_names)


def _fingerprint_in(prepared: Path) -> str | None:
    """Return the fingerprint of the corrections in a prepared folder; None: they are damaged."""
    try:
        return corrections_of(prepared).fingerprint()
    except DataError:
        return None


def check_problems(problems: Sequence[DataProblem], data: Path, section: Prepare) -> None:
    """Check that every error can be avoided by skipping a photo, where that is allowed.

    Raises:
        ProblemsError: errors of other kinds, or any without ``skip_bad``.
    """
    errors = [problem for problem in problems if not problem.warning]
    fatal = [p.message for p in errors if p.photo is None or not section.skip_bad]
    if fatal:
        skippable = not section.skip_bad and all(problem.photo is not None for problem in errors)
        raise ProblemsError(
            f"{len(fatal)} problem{'s' if len(fatal) > 1 else ''} in the data",
            fatal,
            where=data,
            fix="Fix them"
            + (", or leave these photos out with --skip-bad" if skippable else "")
            + "; `tag2mask data check` lists everything:",
        )


def _groups(samples: Samples) -> dict[str, str]:
    return {sample.id: sample.group for sample in all_samples(samples) if sample.group}
