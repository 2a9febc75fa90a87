"""What a run writes down about its photos, simulated with up to a million of them.

``python -m benchmarks.many_photos FOLDER [--photos N ...]`` makes a data folder of empty files and
a table of tags, and measures listing, index, journal, split folders, ``status`` and the sums of
``evaluate``: processor time per photo and peak memory, each in a process of its own. No image is
read. It prints a Markdown table and writes ``many_photos.json`` into FOLDER.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peak import measured_apart, peak_kib
from benchmarks.small_photos import CLASSES
from tag2mask.artifacts.handles import CamMaps, PreparedData
from tag2mask.recipe.sections import Prepare

COUNTS = (10_000, 100_000, 1_000_000)
SIZE = (24, 32)
"""Size of the photos, px, where one is needed."""
SECTION = Prepare(val_fraction=0.0)


def make_data(root: Path, count: int) -> Callable[[], object]:
    """Make a data folder of empty files, all in one folder, and a table of tags."""

    def make() -> None:
        data = root / "data"
        data.mkdir(parents=True)
        with (data / "tags.csv").open("w") as table:
            table.write("image,tags\n")
            for index in range(count):
                name = f"{index:07}.jpg"
                (data / name).touch()
                table.write(f"{name},{CLASSES[index % 4]} {CLASSES[index // 7 % 4]}\n")

    return make


def list_data(root: Path, count: int) -> Callable[[], object]:
    """List the data, as ``prepare`` begins."""
    from tag2mask.data.prepare import listing

    def listed() -> None:
        inventory = listing.list_data(root / "data", SECTION, None)
        assert len(inventory.entries) == count

    return listed


def write_index(root: Path, count: int) -> Callable[[], object]:
    """Write the index of ``prepare``, with sizes that were not read."""
    from tag2mask.artifacts.step_folder import step_folder
    from tag2mask.data import index
    from tag2mask.data.prepare import listing
    from tag2mask.data.prepare.measure import listed_sample
    from tag2mask.files.json_file import write_json

    inventory = listing.list_data(root / "data", SECTION, None)
    out = root / "run" / PreparedData.step

    def write() -> None:
        samples = [listed_sample(inventory, entry, SIZE) for entry in inventory.entries]
        splits: dict[Any, Any] = {"train": samples, "val": []}
        with step_folder(
            PreparedData,
            out,
            section=SECTION,
            coverage={"photos": index.photos_fingerprint(splits)},
        ) as step:
            index.write_source(out, inventory.layout, inventory.root)
            names = list(inventory.class_names)
            write_json(out / "classes.json", {"names": names, "colors": [[0, 0, 0]] * len(names)})
            for split, own in splits.items():
                index.write_index(out, split, own, inventory.root)
            step.finish(counts={"train": count, "val": 0})

    return write


def read_index(root: Path, count: int) -> Callable[[], object]:
    """Read the index, as every later step does."""
    from tag2mask.data import index

    def read() -> None:
        assert len(index.read_index(root / "run" / PreparedData.step, "train")) == count

    return read


def write_maps(root: Path, count: int) -> Callable[[], object]:
    """Write an empty file per photo where its maps would be, and the journal."""
    from tag2mask.artifacts.step_folder import step_folder
    from tag2mask.artifacts.sub_folders import decide_sub_folders
    from tag2mask.maps.cam_map import map_path

    data = PreparedData.open(root / "run" / PreparedData.step)
    out = root / "run" / CamMaps.step
    ids = _ids(count)

    def write() -> None:
        with step_folder(CamMaps, out, section={}, coverage={"data": data}) as step:
            decide_sub_folders(out, ids, begun=False)
            folders: set[Path] = set()
            for photo_id in ids:
                path = map_path(out, photo_id)
                if path.parent not in folders:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    folders.add(path.parent)
                path.touch()
                step.journal.record(photo_id, "0-0 0", "0" * 64)
            step.finish(counts={"photos": count})

    return write


def open_maps(root: Path, count: int) -> Callable[[], object]:
    """Open the finished folder, as the same command does again: every file is looked for."""
    from functools import partial

    from tag2mask.artifacts.step_folder import step_folder
    from tag2mask.steps.photo_loops.per_photo import has_all_files, map_files, prepared_ids

    data = PreparedData.open(root / "run" / PreparedData.step)
    out = root / "run" / CamMaps.step
    complete = has_all_files(partial(map_files, out), partial(prepared_ids, data))

    def look() -> None:
        with step_folder(
            CamMaps, out, section={}, coverage={"data": data}, has_all=complete
        ) as step:
            assert step.complete

    return look


def read_journal(root: Path, count: int) -> Callable[[], object]:
    """Read the journal, as a step that resumes."""
    from tag2mask.artifacts.journal import recorded_items

    def read() -> None:
        assert len(recorded_items(root / "run" / CamMaps.step)) == count

    return read


def show_status(root: Path, count: int) -> Callable[[], object]:
    """Compare the data with what was prepared, and the folders with each other."""
    from tag2mask.pipeline.status import status

    def show() -> None:
        states = {found.step: found.folder.state for found in status(root / "run")}
        assert states[PreparedData.step] == "fresh", states
        assert states[CamMaps.step] == "stale", states  # there is no network

    return show


def evaluate(root: Path, count: int) -> Callable[[], object]:
    """Sum the counts of masks, write ``photos.jsonl`` and rank the photos."""
    from tag2mask.evaluation.counts import MaskCounts, PhotoCounts, SplitCounts
    from tag2mask.evaluation.evidence import photo_qualities
    from tag2mask.evaluation.photo_rows import PhotoRows

    rng = np.random.default_rng(0)
    truth = rng.integers(0, len(CLASSES) + 1, SIZE, dtype=np.uint8)
    masks = MaskCounts.empty(len(CLASSES))
    masks.add(truth, np.roll(truth, 1, axis=0), 0.02)

    def add_all() -> None:
        total = SplitCounts.empty(len(CLASSES), {})
        with PhotoRows(root / "photos.jsonl", 0, 1) as rows:
            for number, photo_id in enumerate(_ids(count)):
                tag = CLASSES[number % 4]
                row = {
                    "id": photo_id,
                    "split": "train",
                    "group": photo_id,
                    "tags": [tag],
                    "map_tags": [tag],
                    "miou": number / count,
                    "pixel_accuracy": 0.5,
                    "network_miou": None,
                    "evidence": {
                        "certainty": number / count,
                        "walk_agreement": 0.5,
                        "agreement": 1 - number / count,
                        "tag_agreement": 1 - number / count,
                    },
                    "areas": {tag: 0.25},
                    "pseudo_areas": {tag: 0.25},
                }
                probabilities = np.full(len(CLASSES), 0.5, np.float32)
                rows.add(total.add(PhotoCounts(row, probabilities, truth, masks)))
            rows.flush()
            rows.write([photo_qualities(total.evidence)])
        assert total.made == count

    return add_all


PARTS: dict[str, tuple[str, Callable[[Path, int], Callable[[], object]]]] = {
    "data": ("(make the data)", make_data),
    "list": ("list the data", list_data),
    "index": ("write the index", write_index),
    "read-index": ("read the index", read_index),
    "maps": ("name the files, write the journal", write_maps),
    "journal": ("read the journal", read_journal),
    "open": ("open a complete step: look for every file", open_maps),
    "status": ("`status`", show_status),
    "evaluate": ("`evaluate`: sums, `photos.jsonl`, quality", evaluate),
}
"""What is measured, in order; each reads what those before it have written."""


def run_part(name: str, root: Path, count: int) -> tuple[float, float]:
    """Run one part; return the processor seconds and the peak memory of this process, MiB."""
    work = PARTS[name][1](root, count)
    start = time.process_time()
    work()
    return time.process_time() - start, peak_kib() / 1024


def _ids(count: int) -> list[str]:
    return [f"{index:07}" for index in range(count)]


def largest_folder(root: Path) -> int:
    """Return the largest number of entries of a folder below ``root``."""
    return max(sum(1 for _ in path.iterdir()) for path in (root, *root.rglob("*")) if path.is_dir())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all parts, or one in this process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_photos")
    parser.add_argument("folder", type=Path, help="a new folder for everything that is written")
    parser.add_argument("--photos", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--part", choices=PARTS)
    options = parser.parse_args(arguments)
    if options.part is not None:
        print(*run_part(options.part, options.folder, options.photos[0]))
        return
    found: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in PARTS}
    folders: dict[int, int] = {}
    for count in options.photos:
        root = options.folder / str(count)
        for name in PARTS:
            part = ("--part", name, "--photos", count)
            seconds, mib = measured_apart("benchmarks.many_photos", root, *part)
            found[name][count] = seconds, mib
            print(f"{count} {name}: {found[name][count]}", file=sys.stderr, flush=True)
        folders[count] = largest_folder(root / "run" / CamMaps.step)
    from benchmarks.measure import commit, machine  # here: it imports torch

    report = {"machine": machine(), "commit": commit(), "parts": found, "largest folder": folders}
    (options.folder / "many_photos.json").write_text(json.dumps(report, indent=1) + "\n")
    print(_table(found, options.photos))
    print("largest folder:", folders)


def _table(found: dict[str, dict[int, tuple[float, float]]], counts: Sequence[int]) -> str:
    """Return microseconds per photo and MiB as a Markdown table."""
    heads = [f"{unit}, {count:,}" for unit in ("µs per photo", "MiB") for count in counts]
    lines = [["part", *heads], ["---"] * (1 + len(heads))]
    for name, (text, _) in PARTS.items():
        times = [f"{found[name][count][0] / count * 1e6:.3g}" for count in counts]
        lines.append([text, *times, *(f"{found[name][count][1]:,.0f}" for count in counts)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
