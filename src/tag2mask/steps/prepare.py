"""Step ``prepare``: which photos there are, with which tags, split into training and validation.

Writes the index that every later step reads (``data/samples.py``). Only headers of photos are
read, and only of those that are new or changed; masks, where there are any, are checked in full,
since a run that trains for hours should not fail at its evaluation. Photos and masks stay where
they are; masks that exist as outlines only (COCO) are drawn into ``coco-masks/``.

A folder that was made from other photos or tags is refused, with what changed in numbers, unless
``update`` takes the changes in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tag2mask.artifacts.files import check_run_outside_data, write_json
from tag2mask.artifacts.handles import PreparedData
from tag2mask.artifacts.identity import folder_status
from tag2mask.artifacts.step_folder import Step, remove_step_folder, step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.check import PHOTOS_PER_BLOCK, inventory_problems, read_checked_mask
from tag2mask.data.images import image_size
from tag2mask.data.index import (
    MaskRow,
    Sample,
    data_root,
    photos_fingerprint,
    read_classes,
    read_index,
    read_mask_rows,
    write_index,
    write_mask_rows,
    write_source,
)
from tag2mask.data.inventory import (
    SPLITS,
    DataProblem,
    Inventory,
    InventoryEntry,
    SourceOptions,
    Split,
)
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.masks import write_mask
from tag2mask.errors import DataChangedError, DataError, ProblemsError, RunFolderError
from tag2mask.recipe.sections import Prepare
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.threads import ordered_map

DRAWN_FOLDER = "coco-masks"
Samples = dict[Split, list[Sample]]


@dataclass(frozen=True)
class _Index:
    """An index as it lies in the folder, whole or not."""

    root: Path
    names: tuple[str, ...]
    samples: Samples
    masks: tuple[MaskRow, ...]


def prepare(data: Path, section: Prepare, out: Path, *, update: bool = False) -> PreparedData:
    """List photos and tags, check them, and write the index.

    Args:
        data: the data folder.
        section: layout, splits, source of tags.
        out: the step's folder.
        update: take in what has changed in the data since ``out`` was made.

    Returns:
        The prepared folder; its manifest counts photos, classes and masks, lists what was left
        out, and holds the warnings (``metrics["warnings"]``).

    Raises:
        DataError: no data, or nothing in it to learn from.
        ProblemsError: photos, tags or masks with errors, all at once. With ``skip_bad`` photos
            that are missing or unreadable are left out instead.
        RunFolderError: ``out`` lies inside the data, was made with other settings or (without
            ``update``) from other photos or tags, or can't be written.
    """
    check_run_outside_data(data, out)
    inventory = list_data(data, section)
    old = read_old_index(out)
    samples, masks, problems = measure_photos(inventory, old)
    problems = inventory_problems(inventory) + problems
    samples, masks, skipped = without_bad(samples, masks, problems, data, section.skip_bad)
    classes = ClassSet(inventory.class_names)
    refuse_changes(old, samples, classes, out, section, update=update)
    warnings = [problem.message for problem in problems if problem.warning]
    with step_folder(
        PreparedData,
        out,
        section=section,
        inputs={"classes": hashlib.sha256("\n".join(classes.names).encode()).hexdigest()},
        coverage={"photos": photos_fingerprint(samples)},
    ) as step:
        counts: dict[str, int] = {split: len(samples[split]) for split in SPLITS}
        counts |= {
            "classes": len(classes),
            "masks": len(masks),
            "skipped": len(skipped),
            "untagged": sum(not s.tags for split in SPLITS for s in samples[split]),
        }
        metrics: dict[str, object] = {"layout": inventory.layout, "warnings": warnings}
        if (
            step.complete
            and old is not None
            and old.root == inventory.root
            and old.masks == tuple(masks)
            and _says(step.handle, counts, metrics, skipped)
        ):
            return step.handle
        write_source(out, inventory.layout, inventory.root)
        write_json(out / "classes.json", {"names": classes.names, "colors": classes.colors})
        for split in SPLITS:
            write_index(out, split, samples[split], inventory.root)
        _write_masks(inventory, masks, samples, classes, step)
        return step.finish(counts=counts, metrics=metrics, skipped=skipped)


def list_data(data: Path, section: Prepare) -> Inventory:
    """The photos, tags and masks that the data holds; no photo is opened.

    Raises:
        DataError: data that can't be listed.
    """
    return read_inventory(data, section.source, SourceOptions.of(section))


def _says(
    done: PreparedData, counts: dict[str, int], metrics: dict[str, object], skipped: Sequence[str]
) -> bool:
    """Whether the manifest holds these; masks and warnings change without the photos."""
    manifest = done.manifest
    return (
        manifest.counts == counts
        and manifest.metrics == metrics
        and manifest.skipped == tuple(skipped)
    )


def measure_photos(
    inventory: Inventory, old: _Index | None
) -> tuple[Samples, list[MaskRow], list[DataProblem]]:
    """Sizes and tag ids of the photos, and the masks; what the old index knows isn't read again."""
    tag_ids = {name: index for index, name in enumerate(inventory.class_names)}
    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    checked: set[tuple[str, str, str]] = set()
    if old is not None and old.root == inventory.root:
        sizes = {(s.id, s.stamp): s.size for split in SPLITS for s in old.samples[split]}
        if old.names == inventory.class_names:
            checked = {(row.id, row.mask, row.stamp) for row in old.masks}

    def measure(entry: InventoryEntry) -> tuple[int, int] | DataProblem | None:
        if entry.image is None:
            return None
        size = sizes.get((entry.id, entry.stamp))
        known = size is not None
        if size is None:
            try:
                size = image_size(inventory.root / entry.image)
            except DataError as error:
                return DataProblem(f"photo {entry.id!r}: {error}", photo=entry.id)
        # Outlines are checked where they are drawn.
        unchecked = entry.mask is not None and not (
            known and (entry.id, entry.mask, entry.mask_stamp) in checked
        )
        mask = read_checked_mask(inventory, entry, size) if unchecked else None
        return mask if isinstance(mask, DataProblem) else size

    samples: Samples = {split: [] for split in SPLITS}
    masks: list[MaskRow] = []
    problems: list[DataProblem] = []
    measured = ordered_map(measure, inventory.entries, block=PHOTOS_PER_BLOCK)
    for entry, found in zip(inventory.entries, measured, strict=True):
        if isinstance(found, DataProblem):
            problems.append(found)
        elif found is not None:
            assert entry.image is not None
            tags = tuple(sorted({tag_ids[tag] for tag in entry.tags if tag in tag_ids}))
            samples[entry.split].append(
                Sample(entry.id, inventory.root / entry.image, found, tags, entry.stamp)
            )
            if entry.mask_stamp:
                masks.append(
                    MaskRow(
                        entry.id,
                        entry.mask or f"{DRAWN_FOLDER}/{entry.id}.png",
                        entry.mask is None,
                        entry.mask_stamp,
                    )
                )
    return samples, masks, problems


def without_bad(
    samples: Samples,
    masks: list[MaskRow],
    problems: Sequence[DataProblem],
    data: Path,
    skip_bad: bool,
) -> tuple[Samples, list[MaskRow], list[str]]:
    """Stop at errors, or leave out the photos that cause them.

    Raises:
        ProblemsError: errors that leaving out photos doesn't mend, or any without ``skip_bad``.
        DataError: no tagged photo is left to train on.
    """
    errors = [problem for problem in problems if not problem.warning]
    fatal = [problem.message for problem in errors if problem.photo is None or not skip_bad]
    if fatal:
        skippable = not skip_bad and all(problem.photo is not None for problem in errors)
        raise ProblemsError(
            f"{len(fatal)} problem{'s' if len(fatal) > 1 else ''} in the data",
            fatal,
            where=data,
            fix="Mend them"
            + (", or leave these photos out with --skip-bad" if skippable else "")
            + "; `tag2mask data check` lists everything:",
        )
    skipped = {problem.photo: f"{problem.photo}: {problem.message}" for problem in errors}
    if skipped:
        samples = {split: [s for s in samples[split] if s.id not in skipped] for split in SPLITS}
        masks = [row for row in masks if row.id not in skipped]
    if not any(sample.tags for sample in samples["train"]):
        raise DataError(
            "no readable training photo has a tag", where=data, fix="Replace the unreadable photos."
        )
    return samples, masks, list(skipped.values())


def refuse_changes(
    old: _Index | None,
    samples: Samples,
    classes: ClassSet,
    out: Path,
    section: Prepare,
    *,
    update: bool,
) -> None:
    """Refuse a finished folder of other photos or tags; make room where the classes changed.

    Raises:
        DataChangedError: naming what changed in numbers.
    """
    if old is None:
        return
    status = folder_status(PreparedData, out, section)
    if status.state in ("missing", "partial") or status.settings:
        return  # to be finished, or refused by name of the setting
    changes = changes_of(old, samples, classes)
    if not changes:
        return
    if not update:
        raise DataChangedError(
            f"the data changed since it was prepared: {', '.join(changes)}",
            where=out,
            fix="Take the changes in with --update, or give another --out.",
        )
    if old.names != classes.names:
        remove_step_folder(PreparedData, out)


def changes_of(old: _Index, samples: Samples, classes: ClassSet) -> list[str]:
    """What differs between two indexes, in numbers."""
    changes: list[str] = []
    if old.names != classes.names:
        added = [name for name in classes.names if name not in old.names]
        removed = [name for name in old.names if name not in classes.names]
        named = [f"new {', '.join(added)}"] if added else []
        named += [f"gone {', '.join(removed)}"] if removed else []
        changes.append(f"other classes ({'; '.join(named) or 'in another order'})")
    before = {s.id: (split, s) for split in SPLITS for s in old.samples[split]}
    after = {s.id: (split, s) for split in SPLITS for s in samples[split]}
    both = [(before[id], after[id]) for id in after if id in before]

    def tag_names(names: Sequence[str], sample: Sample) -> set[str]:
        return {names[tag] for tag in sample.tags}

    counts = {
        "added": sum(id not in before for id in after),
        "removed": sum(id not in after for id in before),
        "replaced": sum(a.stamp != b.stamp for (_, a), (_, b) in both),
        "with other tags": sum(
            tag_names(old.names, a) != tag_names(classes.names, b) for (_, a), (_, b) in both
        ),
        "in another split": sum(s != t for (s, _), (t, _) in both),
    }
    changes += [f"{n} photo{'s' if n > 1 else ''} {what}" for what, n in counts.items() if n]
    order = [[s.id for s in side[split]] for side in (old.samples, samples) for split in SPLITS]
    if not changes and order[:2] != order[2:]:
        changes.append("the photos' order")
    return changes


def read_old_index(out: Path) -> _Index | None:
    """The index that lies in the folder, or None where there is none that can be read."""
    if not out.is_dir() or not (out / "source.json").is_file():
        return None
    try:
        return _Index(
            data_root(out),
            read_classes(out).names,
            {split: read_index(out, split) for split in SPLITS},
            tuple(read_mask_rows(out)),
        )
    except (RunFolderError, DataError):
        return None  # cut short or damaged: it is written again


def _write_masks(
    inventory: Inventory,
    rows: list[MaskRow],
    samples: Samples,
    classes: ClassSet,
    step: Step[PreparedData],
) -> None:
    """Note where the masks lie; draw those that are outlines, each once.

    Raises:
        ProblemsError: damaged outlines, or masks of another size than their photo.
    """
    wanted = {row.id: row for row in rows if row.drawn}
    step.journal.drop_missing(wanted, lambda gone: step.path / DRAWN_FOLDER / f"{gone}.png")
    missing = [
        row
        for row in wanted.values()
        if step.journal.key(row.id) != row.stamp or not (step.path / row.mask).is_file()
    ]
    if missing:
        _draw_masks(inventory, missing, samples, classes, step)
    write_mask_rows(step.path, rows)


def _draw_masks(
    inventory: Inventory,
    rows: list[MaskRow],
    samples: Samples,
    classes: ClassSet,
    step: Step[PreparedData],
) -> None:
    assert inventory.mask_drawer is not None
    drawer = inventory.mask_drawer
    sizes = {s.id: s.size for split in SPLITS for s in samples[split]}

    def draw(row: MaskRow) -> str | None:
        try:
            mask = drawer.draw(row.id, sizes[row.id])
        except DataError as error:
            return str(error)
        path = step.path / row.mask
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, mask, classes.colors)
        return None

    problems: list[str] = []
    with ProgressBar(len(rows), "drawing masks") as bar:
        for row, problem in zip(rows, ordered_map(draw, rows), strict=True):
            bar.advance()
            if problem is None:
                step.journal.record(row.id, row.stamp)
            else:
                problems.append(problem)
    if problems:
        raise ProblemsError(
            f"{len(problems)} masks can't be drawn",
            problems,
            where=inventory.root,
            fix="Mend the annotations:",
        )
