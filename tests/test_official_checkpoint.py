"""``train-cam --import`` takes the authors' checkpoint, in the form in which they released it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from tag2mask import cli
from tag2mask.artifacts import CamModel
from tag2mask.classes import VOC_NAMES
from tag2mask.nn.model_file import load_net

pytestmark = pytest.mark.slow
NAMES = {"fc8.weight": "head.weight", "f8_3.weight": "pcm.embed_low.weight",
         "f8_4.weight": "pcm.embed_mid.weight", "f9.weight": "pcm.fuse.weight"}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Official names and shapes, every tensor filled with its own number; half floats for speed."""
    shapes = json.loads((reference / "resnet38_seam_shapes.json").read_text())
    state = {name: torch.full(tuple(shape), 1 + index / 1024, dtype=torch.float16) if shape
             else torch.tensor(index) for index, (name, shape) in enumerate(shapes.items())}
    path = tmp_path_factory.mktemp("official") / "resnet38_SEAM.pth"
    torch.save(state, path)
    return path


def call(file: Path, out: Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, ["train-cam", "--import", str(file), "--out", str(out)])
    return result.exit_code, result.output


def test_one_command_imports_it(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "train-cam"
    code, output = call(checkpoint, out)
    assert code == 0, output
    model = CamModel.open(out)
    net, spec = load_net(model.path / "model.safetensors")
    assert (spec.classes, spec.backbone, spec.pcm) == (VOC_NAMES, "resnet38", True)
    ours: dict[str, Tensor] = net.state_dict()
    official = torch.load(checkpoint, weights_only=True)
    for name, tensor in official.items():
        own = ours[NAMES.get(name, f"backbone.{name}")]
        assert own.shape == tensor.shape
        assert own.flatten()[0] == tensor.flatten()[0], name
    assert len(ours) == len(official)


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
