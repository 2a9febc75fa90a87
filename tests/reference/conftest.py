"""The authors' networks, built once from checkpoints in their released format (400 MB)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tag2mask.affinity.network import OFFICIAL_AFFINITY, AffinityNet, load_affinity_net
from tag2mask.nn.backbones.resnet38 import ResNet38
from tag2mask.nn.official_checkpoints import official_deeplab_state, official_seam_state
from tag2mask.nn.weights import load_into, load_state
from tag2mask.seam.network import SeamNet
from tag2mask.seam.pcm import PUBLISHED_PCM
from tag2mask.segmentation.deeplab_v1 import DeepLabV1, build_deeplab_v1


def official_state(reference: Path, shapes_file: str) -> dict[str, Tensor]:
    """Return the reference checkpoint, rebuilt by the script in the reference folder."""
    spec = importlib.util.spec_from_file_location(
        "official_weights", reference / "official_weights.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state: dict[str, Tensor] = module.official_state_dict(reference / shapes_file)
    return state


@pytest.fixture(scope="session")
def network(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeamNet]:
    """The SEAM network in evaluation mode, with as many classes as the checkpoint has."""
    checkpoint = tmp_path_factory.mktemp("official") / "resnet38_SEAM.pth"
    state = official_state(reference, "resnet38_seam_shapes.json")
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, checkpoint)
    shapes = json.loads((reference / "resnet38_seam_shapes.json").read_text())
    channels = (shapes["f8_3.weight"][0], shapes["f8_4.weight"][0])
    pcm = replace(PUBLISHED_PCM, channels=channels)
    net = SeamNet(
        ResNet38(), shapes["fc8.weight"][0] - 1, pcm=pcm, dropout=0.5, pooling="avg", centered=False
    )
    load_into(net, official_seam_state(load_state(checkpoint)), where=checkpoint)
    checkpoint.unlink()  # 400 MB
    yield net.eval()


@pytest.fixture(scope="module")
def affinity_net(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> AffinityNet:
    """The AffinityNet in evaluation mode."""
    checkpoint = tmp_path_factory.mktemp("official") / "resnet38_aff.pth"
    torch.save(official_state(reference, "resnet38_aff_shapes.json"), checkpoint)
    net, spec = load_affinity_net(checkpoint)
    checkpoint.unlink()
    assert spec == OFFICIAL_AFFINITY and not net.training
    return net


@pytest.fixture(scope="module")
def deeplab(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> DeepLabV1:
    """The segmentation network in evaluation mode, with as many classes as the checkpoint has."""
    checkpoint = tmp_path_factory.mktemp("official") / "deeplabv1.pth"
    state = official_state(reference, "deeplabv1_resnet38_shapes.json")
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, checkpoint)
    net = build_deeplab_v1(len(state["cls_conv.bias"]) - 1, weights="none")
    load_into(net, official_deeplab_state(load_state(checkpoint)), where=checkpoint)
    checkpoint.unlink()
    return net.eval()
