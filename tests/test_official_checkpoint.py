"""``--import`` reads the authors' checkpoints in the released format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from tag2mask.affinity.network import OFFICIAL_AFFINITY, load_affinity_net
from tag2mask.artifacts.handles import AffinityModel, CamModel, SegmenterModel
from tag2mask.classes import VOC_NAMES
from tag2mask.cli import app as cli
from tag2mask.seam.model import load_seam
from tag2mask.segmentation.networks import OFFICIAL_DEEPLAB, load_segmenter

pytestmark = pytest.mark.slow
NAMES = {
    "fc8.weight": "head.weight",
    "f8_3.weight": "pcm.embed_low.weight",
    "f8_4.weight": "pcm.embed_mid.weight",
    "f9.weight": "pcm.fuse.weight",
}
AFFINITY_NAMES = {
    "f8_3.weight": "embed_low.weight",
    "f8_4.weight": "embed_mid.weight",
    "f8_5.weight": "embed_last.weight",
    "f9.weight": "fuse.weight",
}


def released(shapes: Path, path: Path, prefix: str = "") -> Path:
    """Official names and shapes, every tensor filled with its own number; half floats for speed."""
    state = {
        prefix + name: torch.full(tuple(shape), 1 + index / 1024, dtype=torch.float16)
        if shape
        else torch.tensor(index)
        for index, (name, shape) in enumerate(json.loads(shapes.read_text()).items())
    }
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SEAM's."""
    return released(
        reference / "resnet38_seam_shapes.json",
        tmp_path_factory.mktemp("official") / "resnet38_SEAM.pth",
    )


def call(file: Path, out: Path, step: str = "train-cam") -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, [step, "--import", str(file), "--out", str(out)])
    return result.exit_code, result.output


def assert_holds(ours: dict[str, Tensor], checkpoint: Path, names: dict[str, str]) -> None:
    """Check that every official tensor is present under its own name, and no other."""
    official = torch.load(checkpoint, weights_only=True)
    for name, tensor in official.items():
        name = name.removeprefix("module.")
        own = ours[names.get(name, f"backbone.{name}")]
        assert own.shape == tensor.shape
        assert own.flatten()[0] == tensor.flatten()[0], name
    assert len(ours) == len(official)


def test_one_command_imports_it(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "train-cam"
    code, output = call(checkpoint, out)
    assert code == 0, output
    model = CamModel.open(out)
    net, spec = load_seam(model.path / "model.safetensors")
    assert (spec.classes, spec.backbone, spec.pcm) == (VOC_NAMES, "resnet38", True)
    assert_holds(net.state_dict(), checkpoint, NAMES)


def test_one_command_imports_affinitynet(reference: Path, tmp_path: Path) -> None:
    file = released(
        reference / "resnet38_aff_shapes.json", tmp_path / "resnet38_aff.pth", prefix="module."
    )
    code, output = call(file, tmp_path / "train-affinity", "train-affinity")
    assert code == 0, output
    model = AffinityModel.open(tmp_path / "train-affinity")
    net, spec = load_affinity_net(model.path / "model.safetensors")
    assert spec == OFFICIAL_AFFINITY
    assert_holds(net.state_dict(), file, AFFINITY_NAMES)


def test_one_command_imports_the_segmentation_network(reference: Path, tmp_path: Path) -> None:
    file = released(
        reference / "deeplabv1_resnet38_shapes.json", tmp_path / "deeplabv1.pth", prefix="module."
    )
    code, output = call(file, tmp_path / "train-segmenter", "train-segmenter")
    assert code == 0, output
    model = SegmenterModel.open(tmp_path / "train-segmenter")
    net, spec = load_segmenter(model.path / "model.safetensors")
    assert spec == OFFICIAL_DEEPLAB
    assert_holds(net.state_dict(), file, {name: name for name in net.state_dict()})


def test_another_networks_checkpoint_is_named(checkpoint: Path, tmp_path: Path) -> None:
    code, output = call(checkpoint, tmp_path / "out", "train-segmenter")
    assert code == 1
    assert "CAM checkpoint" in output and "resnet38_SEAM.pth" in output
    assert not (tmp_path / "out").exists()


def test_a_cut_off_file_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    cut = tmp_path / "resnet38_SEAM.pth"
    cut.write_bytes(checkpoint.read_bytes()[:100_000])
    code, output = call(cut, tmp_path / "train-cam")
    assert code == 1
    assert "resnet38_SEAM.pth" in output and "truncated" in output
    assert not (tmp_path / "train-cam" / "manifest.json").exists()


def test_another_file_of_that_name_is_another_model(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    del state["f9.weight"]
    torch.save(state, tmp_path / "resnet38_SEAM.pth")
    code, output = call(tmp_path / "resnet38_SEAM.pth", tmp_path / "train-cam")
    assert code == 1
    assert "pcm.fuse.weight" in output
