"""How many photos of each class, and without any, are needed: scores of the pseudo masks.

    python -m benchmarks.experiments.photos_needed RUN WORK [--photos 5 10 20 40] [--without 0]
        [--classes cat dog] [--recipe lite0-cpu] [--set KEY=VALUE ...] [--minutes 600]

RUN is a run, of which only ``prepare`` is needed, on a data folder with many photos: VOC, or one of
`benchmarks.small_defects`. A point is a run in WORK, until ``pseudo-masks``, on n training photos
of each class (``--photos``) and m that show none (``--without``): the first ones in an order drawn
from ``--seed``, so that larger sets contain the smaller ones. With ``--classes``, the other classes
are background and their photos among those that show none. The same validation photos, ``--val`` of
each class, are labeled with their tags known and scored at every point.

One line per point is appended to ``--log`` when it is scored: counts, mIoU, IoU of each class, and
the objects found by `benchmarks.object_scores`; or the message, if its data or training is refused.
Points that have a line are skipped and an interrupted run is resumed, so the same command goes on.
``--table`` prints the lines as a table instead.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.row_log import Row, append_row, origin, read_rows
from benchmarks.object_scores import score_run
from tag2mask.artifacts.handles import PreparedData, PseudoMaskFolder
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet
from tag2mask.data.index import Sample, read_classes, read_index, read_mask_paths
from tag2mask.data.masks import mask_path, read_mask, write_mask
from tag2mask.errors import Tag2MaskError
from tag2mask.files.atomic import link_or_copy, write_text
from tag2mask.metrics.confusion import Confusion
from tag2mask.pipeline import run as pipeline
from tag2mask.recipe.loading import load_recipe

LOG = Path(__file__).with_suffix(".jsonl")
TABLE = "tags.csv"


@dataclass(frozen=True)
class Point:
    """One run.

    Attributes:
        source: the run that the photos are taken from.
        classes: the classes that are learned.
        photos: n, training photos of each class; of a class with fewer, all.
        without: m, training photos that show none of the classes.
        val: validation photos of each class.
        seed: of the order of the photos.
        recipe: its name.
        settings: further settings.
    """

    source: str
    classes: tuple[str, ...]
    photos: int
    without: int
    val: int
    seed: int
    recipe: str
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder; the same point has the same name."""
        key = sha256(json.dumps(asdict(self)).encode()).hexdigest()[:8]
        return f"{self.photos}-{self.without}-{key}"


def chosen(
    samples: Sequence[Sample], tags: Sequence[int], photos: int, without: int, seed: int
) -> list[Sample]:
    """Return the first photos of each class, and the first that show none, in a drawn order."""
    order = sorted(samples, key=lambda sample: sample.id)
    random.Random(seed).shuffle(order)
    groups = [[sample for sample in order if tag in sample.tags][:photos] for tag in tags]
    groups.append([sample for sample in order if not {*sample.tags} & {*tags}][:without])
    found = {sample.id: sample for group in groups for sample in group}
    return [sample for sample in order if sample.id in found]


def write_data(point: Point, prepared: Path, folder: Path) -> None:
    """Write a point's data folder, unless it is complete: links to photos, tags, and masks."""
    if (folder / TABLE).is_file():
        return
    names, masks = read_classes(prepared).names, read_mask_paths(prepared)
    tags = [names.index(name) for name in point.classes]
    numbers = np.full(256, BACKGROUND, np.uint8)
    numbers[[tag + 1 for tag in tags]] = np.arange(1, len(tags) + 1)
    numbers[IGNORE] = IGNORE
    train = chosen(read_index(prepared, "train"), tags, point.photos, point.without, point.seed)
    val = [sample for sample in read_index(prepared, "val") if sample.id in masks]
    colors = ClassSet(point.classes).colors
    rows = ["image,tags,split,mask"]
    for split, samples in (("train", train), ("val", chosen(val, tags, point.val, 0, point.seed))):
        for sample in samples:
            image, mask = f"images/{sample.id}{sample.image.suffix}", ""
            link_or_copy(sample.image, folder / image)
            if split == "val":
                mask = f"masks/{sample.id}.png"
                (folder / mask).parent.mkdir(parents=True, exist_ok=True)
                write_mask(folder / mask, numbers[read_mask(masks[sample.id], len(names))], colors)
            shown = ";".join(names[tag] for tag in sample.tags if tag in tags)
            rows.append(f"{image},{shown},{split},{mask}")
    write_text(folder / "classes.txt", "\n".join(point.classes) + "\n")
    write_text(folder / TABLE, "\n".join(rows) + "\n")


def run_point(point: Point, prepared: Path, work: Path) -> Row:
    """Run a point, or the rest of it; return its line of the log."""
    data, out = work / f"{point.name}-data", work / point.name
    write_data(point, prepared, data)
    start = time.monotonic()
    line: Row = asdict(point)
    try:
        recipe = load_recipe(point.recipe, point.settings)
        pipeline.run(data, recipe, out, until=PseudoMaskFolder.step)
        line |= scores(out)
    except Tag2MaskError as error:
        line["refused"] = str(error)
    minutes = round((time.monotonic() - start) / 60, 1)
    return line | {"minutes": minutes} | origin()


def scores(run: Path) -> dict[str, Any]:
    """Return the numbers of training photos and the scores of the validation photos' masks."""
    prepared = run / PreparedData.step
    names, truths = read_classes(prepared).names, read_mask_paths(prepared)
    train, confusion = read_index(prepared, "train"), Confusion.empty(len(names))
    for sample in read_index(prepared, "val"):
        made = mask_path(run / PseudoMaskFolder.step, sample.id)
        truth = read_mask(truths[sample.id], len(names))
        confusion.add(truth, read_mask(made, len(names)))
    objects = score_run(run, PseudoMaskFolder.step)
    iou = dict(zip(names, confusion.iou()[1:].round(4).tolist(), strict=True))
    return {
        "train": len(train),
        "shown": {name: sum(tag in s.tags for s in train) for tag, name in enumerate(names)},
        "miou": round(confusion.miou(), 4),
        "iou": iou,
        "objects_found": objects["recall"],
        "wrong_parts": objects["wrong_parts_per_other_photo"],
    }


def is_logged(log: Path, point: Point) -> bool:
    """Return whether a point has a line."""
    wanted = json.loads(json.dumps(asdict(point)))
    return any(wanted.items() <= line.items() for line in read_rows(log))


def table(log: Path) -> str:
    """Return the lines of the log as a Markdown table."""
    head = ("photos of", "classes", "n", "m", "training photos", "mIoU", "lowest and highest IoU")
    rows: list[tuple[object, ...]] = [head, ("---",) * len(head)]
    for line in read_rows(log):
        point = (line["source"], len(line["classes"]), line["photos"], line["without"])
        if "refused" in line:
            rows.append((*point, "", "", line["refused"]))
            continue
        found = [100 * iou for iou in line["iou"].values()]
        ends = f"{np.nanmin(found):.0f} and {np.nanmax(found):.0f}"
        rows.append((*point, line["train"], f"{100 * line['miou']:.1f}", ends))
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the points that the log lacks, smallest first, within the given time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--photos", type=int, nargs="+", default=[5, 10, 20, 40])
    parser.add_argument("--without", type=int, nargs="+", default=[0])
    parser.add_argument("--classes", nargs="+", help="default: all")
    parser.add_argument("--val", type=int, default=5, help="validation photos of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="lite0-cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--minutes", type=float, default=600, help="begin no point after this time")
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--table", action="store_true", help="print the log, run nothing")
    options = parser.parse_args(arguments)
    if options.table:
        print(table(options.log))
        return
    prepared, start = options.run / PreparedData.step, time.monotonic()
    names = read_classes(prepared).names
    if unknown := {*(options.classes or names)} - {*names}:
        parser.error(f"no class {min(unknown)!r}; there are {', '.join(names)}")
    for photos in sorted(options.photos):
        for without in options.without:
            point = Point(
                source=options.run.absolute().name,
                classes=tuple(options.classes or names),
                photos=photos,
                without=without,
                val=options.val,
                seed=options.seed,
                recipe=options.recipe,
                settings=tuple(options.set),
            )
            if is_logged(options.log, point):
                continue
            if time.monotonic() - start > 60 * options.minutes:
                return
            line = run_point(point, prepared, options.work)
            append_row(options.log, line)
            print(f"{point.name}: {line.get('miou', line.get('refused'))}", flush=True)


if __name__ == "__main__":
    main()
