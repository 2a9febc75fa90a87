"""A run with a trained network, for tests of ``export``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from small_runs import prepared, recipe, write_photos
from tag2mask.artifacts.handles import Evaluation, Predictions, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.evaluation.records import (
    ClassRates,
    EvaluationScores,
    MaskScores,
    PhotoRates,
    PointScores,
    SplitScores,
    StageScores,
)
from tag2mask.files.json_file import write_json
from tag2mask.recipe.sections import Predict
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter, save_segmenter

SPEC = SegmenterSpec(
    ("cat", "dog", "bird"), "deeplabv3plus", "test_efficientnet", 16, 64, decoder_channels=None
)


def write_model(path: Path) -> Path:
    """Write a network that finds all its classes in any photo."""
    torch.manual_seed(0)
    net = build_segmenter(SPEC).eval()
    head = net.net.segmentation_head[0]  # type: ignore[union-attr]
    with torch.no_grad():
        head.weight.mul_(30)
        head.bias.sub_(net(torch.randn(1, 3, 64, 64)).mean((0, 2, 3)))
    save_segmenter(path, net, SPEC)
    return path


def write_run(root: Path) -> None:
    """Write a run whose network was trained on 9 photos and evaluated."""
    data = prepared(write_photos(root / "photos"), root / "prepare")
    section = recipe().train_segmenter
    with step_folder(
        SegmenterModel, root / "train-segmenter", section=section, inputs={"data": data}
    ) as step:
        write_model(step.path / "model.safetensors")
        segmenter = step.finish(
            counts={"photos": 9, "without_masks": 0},
            metrics={"masks": "pseudo", "steps": 3, "without_masks": []},
        )
    with step_folder(
        Predictions,
        root / "predict",
        section=Predict(scales=(1.0, 1.5), flip=True),
        inputs={"model": segmenter},
    ) as step:
        predictions = step.finish(metrics={"long_side": 64})
    evaluate(root, predictions, miou=0.625)
    (root / "recipe.yaml").write_text("name: small\n")


def evaluate(root: Path, predictions: Predictions, miou: float) -> None:
    """Write an evaluation of the predictions."""
    point = PointScores(None, "argmax", miou, 0.75, 0.5)
    masks = MaskScores(3, 0.5, None, None, 0.6, 0.7, None, None, (), ())
    split = SplitScores(
        "val",
        3,
        "known",
        0.3,
        "estimated",
        masks,
        None,
        None,
        (),
        (
            StageScores("SEAM", 3, "known", point, None, None),
            StageScores("segmenter", 3, "no", point, None, None),
        ),
        left_out=1,
        rates=PhotoRates(
            4,
            4,
            0.001,
            tuple(ClassRates(name, 2, 1, (0.1, 0.9), 2, 0, (0.0, 0.6)) for name in SPEC.classes),
            ((1,) * len(SPEC.classes),) * (len(SPEC.classes) + 1),
            ((2,) * len(SPEC.classes),) * (len(SPEC.classes) + 1),
        ),
    )
    with step_folder(
        Evaluation,
        root / "evaluate",
        section={},
        coverage={"predictions": predictions, "seen": str(miou)},
    ) as step:
        write_json(
            step.path / "evaluation.json",
            asdict(EvaluationScores(("background", *SPEC.classes), "default", (split,))),
        )
        step.finish()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".lock")}
