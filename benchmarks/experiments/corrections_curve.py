"""mIoU of the network with k drawn masks, chosen by ``ask`` or at random.

    python -m benchmarks.experiments.corrections_curve RUN --data DIR --work WORK
        [--photos 0,20,50,100] [--choices ask,typical,random] [--seeds 0]
        [--set SECTION.KEY=VALUE ...]
        [--rows FILE]

RUN is a finished run on DIR, whose training photos have ground truth. The ground truth of the
chosen photos stands for what a person draws. Each point is a run in WORK that starts from the
finished steps of RUN, with its recipe, ``train_segmenter.masks=mixed`` and ``--set``. Steps that
``--set`` changes are redone too: ``affinity_labels.use_drawn=true`` trains another AffinityNet.
k drawn masks alone are ``train_segmenter.drawn_share=1``; k = 0 with the seed of RUN is RUN itself.
In ``--set``, ``{run}`` stands for RUN: ``run --fine-tune`` is
``train_segmenter.init_from={run}/train-segmenter/model.safetensors`` with its other settings.

``typical`` chooses as ``ask`` does, but all photos have the same weight, represent themselves too,
and none is sampled at random.

One line per point is appended to the rows as soon as it is scored, and points that have a line are
skipped; an interrupted point is resumed. So the same command goes on where it was.

Scored are the validation photos of RUN. Settings are therefore chosen with a RUN on the folder of
`benchmarks.experiments.tune_split`, whose validation photos are tuning photos.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.experiments.row_log import append_row, origin, read_rows
from tag2mask.artifacts.handles import MODEL_FILE, CamModel, Evaluation, PreparedData
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.index import read_classes, read_index, read_mask_paths
from tag2mask.data.photos import read_sample_mask
from tag2mask.pipeline import run as pipeline
from tag2mask.recipe.loading import load_recipe
from tag2mask.review.ask import ask
from tag2mask.review.facility_location import cosine_similarity, facility_location
from tag2mask.review.features import photo_features
from tag2mask.review.folder import open_review

ROWS = Path(__file__).with_suffix(".jsonl")
MIXED = "train_segmenter.masks=mixed"


@dataclass(frozen=True)
class Point:
    """One training.

    Attributes:
        run: name of the folder that it starts from.
        choice: ``ask``, ``typical``, ``random``, or ``none`` for k = 0.
        photos: k, the number of drawn masks.
        seed: of the training and of the random choice.
        settings: further settings of the recipe.
    """

    run: str
    choice: str
    photos: int
    seed: int
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its run folder; the same settings give the same name."""
        settings = sha256("\n".join(self.settings).encode()).hexdigest()[:8]
        return f"{self.run}-{self.choice}-{self.photos}-{self.seed}-{settings}"


def main() -> None:
    """Train and score every point that has no line yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", default="0,20,50,100")
    parser.add_argument("--choices", default="ask,random")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    for point in points(options):
        if point in scored_points(options.rows):
            continue
        start = time.monotonic()
        miou = score(point, options.run, options.data, options.work)
        row = asdict(point) | {
            "miou": round(100 * miou, 2),
            "minutes": round((time.monotonic() - start) / 60, 1),
        }
        append_row(options.rows, row | origin())
        print(f"{point.name}: {100 * miou:.2f}", flush=True)


def points(options: argparse.Namespace) -> list[Point]:
    """Return the points that the options ask for, each once."""
    name, settings = options.run.absolute().name, tuple(sorted(options.settings))
    found = [
        Point(name, choice if photos else "none", photos, seed, settings if photos else ())
        for seed in map(int, options.seeds.split(","))
        for photos in map(int, options.photos.split(","))
        for choice in options.choices.split(",")
    ]
    return list(dict.fromkeys(found))


def scored_points(rows: Path) -> set[Point]:
    """Return the points that have a line."""
    return {
        Point(row["run"], row["choice"], row["photos"], row["seed"], tuple(row["settings"]))
        for row in read_rows(rows)
    }


def score(point: Point, run: Path, data: Path, work: Path) -> float:
    """Return the network's mIoU on the validation photos, in [0, 1], after training it."""
    own, settings = str(run / "recipe.yaml"), [f"train_segmenter.seed={point.seed}"]
    corrections = None
    if point.photos:
        corrections = work / f"{point.name}-corrections"
        draw(run, chosen_photos(point, run, work), corrections)
        given = (setting.replace("{run}", str(run.absolute())) for setting in point.settings)
        settings += [MIXED, *given]
    elif load_recipe(own).train_segmenter.seed == point.seed:
        return network_miou(Evaluation.open(run / Evaluation.step))
    recipe = load_recipe(own, settings)
    result = pipeline.run(
        data,
        recipe,
        work / point.name,
        until=Evaluation.step,
        update=True,
        source=run,
        corrections=corrections,
    )
    handle = result.handles[Evaluation.step]
    assert isinstance(handle, Evaluation)
    return network_miou(handle)


def chosen_photos(point: Point, run: Path, work: Path) -> Sequence[str]:
    """Return the ids of the training photos whose masks are drawn."""
    folder = open_review(run, corrections=work / f"{point.name}-asked")
    masked = read_mask_paths(run / PreparedData.step)
    photos = [p for p in folder.photos if p.split == "train" and p.id in masked]
    if point.choice == "ask":
        folder = replace(folder, photos=tuple(photos))
        return [one.photo for one in ask(folder, point.photos, seed=point.seed)]
    if point.choice == "typical":
        features = photo_features(cam_model(run), photos)
        names, weights = list(features), np.ones(len(features), np.float32)
        similarity = cosine_similarity(np.array(list(features.values())))
        return [names[n] for n in facility_location(similarity, weights, point.photos)]
    return random.Random(point.seed).sample(sorted(p.id for p in photos), point.photos)


def cam_model(run: Path) -> Path:
    """Return the CAM network of a run, or the file that its segmenter's encoder starts from."""
    own = run / CamModel.step / MODEL_FILE
    if own.is_file():
        return own
    return Path(load_recipe(str(run / "recipe.yaml")).train_segmenter.network.weights)


def draw(run: Path, photos: Sequence[str], out: Path) -> None:
    """Write the ground truth of photos as drawn masks; those that are there already are kept."""
    prepared = run / PreparedData.step
    classes, masks = ClassSet(read_classes(prepared).names), read_mask_paths(prepared)
    samples = {sample.id: sample for sample in read_index(prepared, "train")}
    with open_corrections(out, classes) as writer:
        for photo in photos:
            if photo not in writer.decisions:
                mask = read_sample_mask(samples[photo], masks[photo], len(classes))
                writer.write(Decision(photo, "corrected", origin="import"), mask)


def network_miou(evaluation: Evaluation) -> float:
    """Return the network's mIoU on the validation photos, in [0, 1]."""
    return float(evaluation.manifest.metrics["val"]["segmenter_miou"])


if __name__ == "__main__":
    main()
