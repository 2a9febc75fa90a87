"""One set of defaults, the recipe's: the classes of the method have none of their own."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import MISSING, replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from tag2mask.affinity.attention import AttentionInference
from tag2mask.affinity.inference import AffinityInference
from tag2mask.affinity.loss import AffinityObjective
from tag2mask.affinity.network import OFFICIAL_AFFINITY, AffinityNet
from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.crf.dense_crf import PUBLISHED_CRF, CrfSettings, DenseCrf
from tag2mask.data.index import Sample
from tag2mask.recipe.loading import load_recipe
from tag2mask.seam.mdc import MdcHead
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam
from tag2mask.seam.multi_scale_inference import PUBLISHED_INFERENCE, MultiScaleInference
from tag2mask.seam.network import SeamNet
from tag2mask.seam.objective import PUBLISHED_OBJECTIVE, SeamObjective
from tag2mask.seam.pcm import PixelCorrelation
from tag2mask.segmentation.inference.labeling import PhotoLabeler
from tag2mask.segmentation.networks import OFFICIAL_DEEPLAB
from tag2mask.steps.infer_cam import inference_settings
from tag2mask.steps.train_affinity import affinity_spec
from tag2mask.steps.train_cam import net_spec
from tag2mask.steps.trainers.cam_task import objective_settings
from tag2mask.steps.trainers.segmenter_task import segmenter_spec

METHOD = ("affinity", "crf", "seam", "segmentation", "training")
SUFFIXES = ("Settings", "Spec", "Weights", "Augmentation")
NO_SETTINGS = {"autocast", "extra", "head", "part", "threads"}
"""Arguments that are not settings, or have the default of the recipe."""


def settings_classes() -> Iterator[type]:
    """Yield the dataclasses of the method's packages that hold settings or an architecture."""
    for name in METHOD:
        package = import_module(f"tag2mask.{name}")
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = import_module(info.name)
            for member in vars(module).values():
                own = inspect.isclass(member) and member.__module__ == module.__name__
                if own and dataclasses.is_dataclass(member) and member.__name__.endswith(SUFFIXES):
                    yield member


def test_settings_have_no_defaults() -> None:
    classes = {settings.__name__: settings for settings in settings_classes()}
    assert {
        "AffinitySpec",
        "Augmentation",
        "CrfSettings",
        "FitSettings",
        "InferenceSettings",
        "LabelingSettings",
        "LossWeights",
        "ObjectiveSettings",
        "PcmSettings",
        "SeamSpec",
        "SegmenterSpec",
    } <= set(classes)
    with_default = [
        f"{name}.{field.name}"
        for name, settings in classes.items()
        for field in dataclasses.fields(settings)
        if field.default is not MISSING or field.default_factory is not MISSING
    ]
    assert not with_default


@pytest.mark.parametrize(
    "part",
    [
        AffinityInference,
        AffinityNet,
        AffinityObjective,
        AttentionInference,
        DenseCrf,
        MdcHead,
        MultiScaleInference,
        PhotoLabeler,
        PixelCorrelation,
        SeamNet,
        SeamObjective,
    ],
)
def test_parts_have_no_default_settings(part: type[nn.Module]) -> None:
    parameters = inspect.signature(part).parameters.values()
    with_default = {p.name for p in parameters if p.default is not inspect.Parameter.empty}
    assert with_default <= NO_SETTINGS


def test_the_recipe_of_the_paper_has_the_published_values() -> None:
    recipe, classes = load_recipe("voc12-resnet38-paper"), ClassSet(VOC_NAMES)
    assert net_spec(recipe.train_cam, classes) == OFFICIAL_SEAM
    assert objective_settings(recipe.train_cam) == PUBLISHED_OBJECTIVE
    with torch.device("meta"):
        net = build_seam(OFFICIAL_SEAM)
    # The recipe says why it stores maps at stride 2.
    stored = replace(PUBLISHED_INFERENCE, map_stride=2)
    assert inference_settings(net, recipe.infer_cam) == stored
    assert CrfSettings(**recipe.affinity_labels.crf.model_dump()) == PUBLISHED_CRF
    assert affinity_spec(recipe.train_affinity) == OFFICIAL_AFFINITY
    photo = Sample("a", Path("a.jpg"), (375, 500), (), "0-0")
    assert segmenter_spec(recipe.train_segmenter, classes, [photo]) == OFFICIAL_DEEPLAB
