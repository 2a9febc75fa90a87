"""A second network, trained on what the first one says about its training photos.

    python -m benchmarks.experiments.tags_alone.second_round RUN OUT --data DATA [--corrections DIR]
        [--scales 0.75,1,1.5] [--set SECTION.KEY=VALUE ...]

RUN is a finished run on DATA. Its network labels the training photos over several scales, flipped
too, for the tags of each photo alone. ``OUT-masks`` becomes the folder of these masks, and OUT a
run with RUN's recipe whose network learns from them. Drawn masks of the corrections replace them as
usual. Prints the mIoU of both networks on the validation photos.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.experiments.corrections_curve import network_miou
from benchmarks.experiments.tags_alone.early_learning import labeler_of, write_corrected
from tag2mask.artifacts.handles import (
    IMPORTED,
    MODEL_FILE,
    CamModel,
    Evaluation,
    PreparedData,
    PseudoMaskFolder,
    SegmenterModel,
)
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import read_classes
from tag2mask.pipeline import run as pipeline
from tag2mask.recipe.loading import load_recipe, path_override
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.train_segmenter import CAM_WEIGHTS

MADE_BY = "model:second-round"


def own_masks(run: Path, recipe: Recipe, out: Path, scales: tuple[float, ...]) -> None:
    """Write the masks that a run's network gives to its training photos, for their tags."""
    data = PreparedData.open(run / PreparedData.step)
    masks = PseudoMaskFolder.open(Path(recipe.masks or run / PseudoMaskFolder.step))
    model = SegmenterModel.open(run / SegmenterModel.step)
    names = read_classes(data.path).names
    with step_folder(
        PseudoMaskFolder,
        out,
        section={IMPORTED: MADE_BY, "scales": scales},
        inputs={"masks": masks, "network": model},
    ) as step:
        if not step.complete:
            labeler, every = labeler_of(model, recipe, scales), range(1, len(names) + 1)
            found = write_corrected(step, data, masks, labeler, every, 0.0)
            step.finish(
                counts={"photos": int(found["photos"])},
                metrics={"classes": list(names), IMPORTED: MADE_BY, "changed": found["changed"]},
            )


def main(words: Sequence[str] | None = None) -> None:
    """Write the masks, train on them, and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corrections", type=Path)
    parser.add_argument("--scales", default="0.75,1,1.5")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args(words)
    own = str(options.run / "recipe.yaml")
    first = load_recipe(own)
    masks = options.out.with_name(f"{options.out.name}-masks")
    scales = tuple(map(float, options.scales.split(",")))
    own_masks(options.run, first, masks, scales)
    settings = [path_override("masks", masks), *options.settings]
    if first.train_segmenter.network.weights == CAM_WEIGHTS:
        encoder = options.run / CamModel.step / MODEL_FILE
        settings.append(path_override("train_segmenter.network.weights", encoder))
    pipeline.run(
        options.data,
        load_recipe(own, settings),
        options.out,
        until=Evaluation.step,
        corrections=options.corrections,
    )
    scores = [
        network_miou(Evaluation.open(run / Evaluation.step)) for run in (options.run, options.out)
    ]
    print(f"first network {100 * scores[0]:.2f}, second {100 * scores[1]:.2f}")


if __name__ == "__main__":
    main()
