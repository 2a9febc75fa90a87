"""The step ``export``: exported files, model card, resuming, and errors."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_scenes import SPEC, names_in
from PIL import Image

import tag2mask
from local_segmenter import colorful
from onnx_file import SPEC as COLORS
from onnx_file import write_network
from small_runs import (
    environment,
    interrupt_when,
    invoke,
    start,
)
from tag2mask.artifacts.handles import CamModel, Export, Predictions, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.masks import read_mask
from tag2mask.errors import ExportError, PackageError, RunFolderError, WeightsError
from tag2mask.recipe.sections import Predict
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam, save_seam
from tag2mask.segmentation.inference.export_spec import KEY, ExportedSpec, LabelingRecord
from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter
from tag2mask.segmentation.networks import build_segmenter, save_segmenter
from tag2mask.steps import export as stage
from tag2mask.steps.export import export

ALL = {
    *("MODEL_CARD.md", "manifest.json", "model-card.json", "model.onnx", "model.pt2"),
    *("predict.py", "record.json"),
}
pytestmark = pytest.mark.usefixtures("one_thread")


def test_files_and_manifest(trained_run: Path, exported: Path) -> None:
    assert names_in(exported) == ALL
    manifest = Export.open(exported).manifest
    assert manifest.section["formats"] == ["onnx", "torch"]
    record = (exported / "record.json").read_text()
    spec = ExportedSpec.from_json(record, where=exported)
    assert OnnxSegmenter.open(exported / "model.onnx").spec == spec
    assert spec.predict == LabelingRecord("default", 64, (1.0,), False, 1024, 128)
    assert manifest.section["predict"] == {**asdict(spec.predict), "scales": [1.0]}
    assert (
        manifest.inputs["model"].fingerprint
        == SegmenterModel(trained_run / "train-segmenter").fingerprint
    )
    assert set(manifest.metrics["largest_difference"]) == {"model.onnx", "model.pt2"}
    assert max(manifest.metrics["largest_difference"].values()) < 1e-3


def test_complete_export_is_not_repeated(
    trained_run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "exported_program", None)
    assert export(trained_run, ("torch", "onnx"), exported).path == exported
    with pytest.raises(RunFolderError, match=r'export\.formats: \["onnx", "torch"\] -> \["onnx"\]'):
        export(trained_run, ("onnx",), exported)
    with pytest.raises(RunFolderError, match=r"export\.predict\.flip: false -> true"):
        export(trained_run, ("onnx", "torch"), exported, Predict(flip=True))


def test_settings_of_the_run_go_with_the_network(
    trained_run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long side, scales, flip, tiles of the run; its dense CRF is left out, and this is said."""
    shutil.copytree(trained_run, tmp_path / "run")
    settings = "{long_side: 96, scales: [0.5, 1.0], flip: true, tile: 80, overlap: 32"
    settings += ", crf: {enabled: true}}"
    (tmp_path / "run" / "recipe.yaml").write_text(f"name: mine\npredict: {settings}\n")
    monkeypatch.setattr(stage, "exported_program", lambda net: net)
    monkeypatch.setattr(stage, "onnx_bytes", lambda *_: (exported / "model.onnx").read_bytes())
    out = tmp_path / "out"
    done = invoke("export", tmp_path / "run", "--out", out, "--format", "onnx")
    assert done.exit_code == 0
    assert "warning: the dense CRF (predict.crf) is left out" in done.stderr
    spec = ExportedSpec.from_json((out / "record.json").read_text(), where=out)
    assert spec.predict == LabelingRecord("default", 96, (0.5, 1.0), True, 80, 32)
    assert "without a dense CRF" in (out / "MODEL_CARD.md").read_text()


def test_the_settings_of_an_exported_network_are_used(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(colorful(90, 120)).save(photo)
    spec = replace(COLORS, predict=replace(COLORS.predict, flip=True, scales=(0.5, 1.0)))
    (tmp_path / "net").mkdir()
    write_network(tmp_path / "net" / "model.onnx", metadata={KEY: spec.to_json()})
    found = {}
    for name, options in {
        "folder": ["--model", tmp_path / "net"],
        "file": ["--model", tmp_path / "net" / "model.onnx"],
        "set": ["--model", tmp_path / "net", "--set", "predict.flip=false"],
        "recipe": ["--model", tmp_path / "net", "--recipe", "lite0-cpu"],
    }.items():
        done = invoke("predict", photo, *options, "--out", tmp_path / name)
        assert done.exit_code == 0, done.stderr
        section = Predictions.open(tmp_path / name).manifest.section
        found[name] = (section["flip"], section["scales"], section["long_side"])
    assert found["folder"] == found["file"] == (True, [0.5, 1.0], 64)
    assert found["set"] == (False, [0.5, 1.0], 64)
    assert found["recipe"] == (False, [1.0], "trained")
    loaded = tag2mask.load(tmp_path / "net")(photo)
    np.testing.assert_array_equal(loaded.labels, read_mask(tmp_path / "folder/masks/photo.png", 3))


def test_torch_program(exported: Path) -> None:
    files = {KEY: ""}
    network = torch.export.load(exported / "model.pt2", extra_files=files).module()
    assert ExportedSpec.from_json(files[KEY], where=exported).long_side == 64
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 4, 64, 96)


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Block())
from tag2mask.__main__ import main
main()
"""
TRAINING = {
    "torch",
    "torchvision",
    "timm",
    "lightning_fabric",
    "segmentation_models_pytorch",
    "safetensors",
    "onnx",
}


def test_photos_are_labeled_without_torch(
    trained_run: Path, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for index, size in enumerate(((90, 120), (64, 64), (31, 200))):
        Image.fromarray(colorful(*size, seed=index)).save(tmp_path / "photos" / f"{index}.png")
    arguments = [
        str(tmp_path / "photos"),
        "--model",
        str(exported / "model.onnx"),
        "--set",
        "predict.flip=true",
        "--set",
        "predict.confidence=true",
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            BLOCKED.format(blocked=TRAINING),
            "predict",
            *arguments,
            "--out",
            str(tmp_path / "onnx"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    other = invoke(
        "predict",
        *arguments[:2],
        trained_run,
        *arguments[3:],
        "--out",
        tmp_path / "torch",
        "--set",
        "runtime.device=cpu",
        "--set",
        "predict.precision=32",
    )
    assert other.exit_code == 0, other.stderr
    same, seen = [], set()
    for index in range(3):
        masks = [
            read_mask(tmp_path / kind / "masks" / f"{index}.png", 3) for kind in ("onnx", "torch")
        ]
        same.append(masks[0].ravel() == masks[1].ravel())
        seen |= set(np.unique(masks[0]).tolist())
        assert (tmp_path / "onnx" / "confidence" / f"{index}.png").is_file()
    assert np.concatenate(same).mean() >= 0.999
    assert len(seen) > 2


class Unexpected:
    """An exporter that must not be called."""

    def __call__(self, *_: Any) -> Any:
        raise AssertionError("something was exported")


def check_error(
    kind: type[Exception],
    message: str,
    model: Path,
    out: Path,
    formats: tuple[str, ...] = ("torch",),
) -> None:
    with pytest.raises(kind, match=message):
        export(model, formats, out)
    assert not out.exists() or names_in(out) <= {"started.json"}


def test_models_that_can_not_be_exported(
    trained_run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "exported_program", Unexpected())
    out = tmp_path / "out"
    with step_folder(CamModel, tmp_path / "cam" / "train-cam", section={}) as step:
        cam = replace(
            OFFICIAL_SEAM, classes=("cat", "dog"), backbone="test_efficientnet", output_stride=16
        )
        save_seam(step.path / "model.safetensors", build_seam(cam), cam)
        step.finish()
    check_error(
        WeightsError,
        "this is a CAM model, not a segmentation network",
        tmp_path / "cam" / "train-cam" / "model.safetensors",
        out,
    )
    check_error(
        RunFolderError,
        "this folder holds train-cam, not train-segmenter",
        tmp_path / "cam" / "train-cam",
        out,
    )
    check_error(RunFolderError, "no train-segmenter in this folder", tmp_path / "cam", out)
    check_error(WeightsError, "already exported", exported / "model.onnx", out)
    check_error(
        WeightsError, r"can only be used by torch\.export\.load", exported / "model.pt2", out
    )
    check_error(WeightsError, "already exported", exported, out)
    check_error(WeightsError, "no such model", tmp_path / "gone.safetensors", out)
    whole = (trained_run / "train-segmenter" / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:5000])
    check_error(WeightsError, "cut off", tmp_path / "cut.safetensors", out)
    net = build_segmenter(SPEC)
    with torch.no_grad():
        next(net.parameters())[0] = torch.inf
    save_segmenter(tmp_path / "inf.safetensors", net, SPEC)
    check_error(WeightsError, "aren't finite", tmp_path / "inf.safetensors", out)


def test_export_that_differs_leaves_no_file(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "exported_program", lambda net: net)
    monkeypatch.setattr(stage, "torch_bytes", lambda *_: b"program")
    monkeypatch.setattr(
        stage,
        "_torch_logits",
        lambda file: lambda images: np.zeros((len(images), 4, *images.shape[2:]), np.float32),
    )
    check_error(ExportError, "differs from the network", trained_run, tmp_path / "out")
    message = invoke("export", trained_run, "--out", tmp_path / "out", "--format", "torch")
    assert message.exit_code == 1 and message.stderr.startswith("error: the exported network")
    assert len(message.stderr.splitlines()) == 1


def test_ctrl_c_leaves_no_file_and_is_resumed(
    trained_run: Path, exported: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    interrupt_when(start("export", trained_run, "--out", out), out.is_dir)
    assert not names_in(out) & ALL
    assert invoke("export", trained_run, "--out", out).exit_code == 0
    assert names_in(out) == ALL
    assert (out / "model.onnx").read_bytes() == (exported / "model.onnx").read_bytes()


def test_error_in_one_format_leaves_no_file_of_the_other(
    trained_run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bytes:
        raise ExportError("no program")

    monkeypatch.setattr(stage, "exported_program", lambda net: net)
    monkeypatch.setattr(stage, "onnx_bytes", lambda *_: (exported / "model.onnx").read_bytes())
    monkeypatch.setattr(stage, "torch_bytes", broken)
    check_error(ExportError, "no program", trained_run, tmp_path / "out", ("onnx", "torch"))


def test_missing_package(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tag2mask.segmentation.export.find_spec", lambda name: None)
    monkeypatch.setattr(stage, "exported_program", Unexpected())
    check_error(PackageError, r"pip install '\.\[onnx\]'", trained_run, tmp_path / "out", ("onnx",))


def test_unknown_format(trained_run: Path, tmp_path: Path) -> None:
    done = invoke("export", trained_run, "--out", tmp_path / "out", "--format", "onnx,tflite")
    assert done.exit_code == 2 and "tflite" in done.stderr
    assert not (tmp_path / "out").exists()


def test_missing_model_keeps_an_earlier_export(trained_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with step_folder(Export, out, section={}) as step:
        step.finish()
    done = invoke("export", tmp_path / "gone", "--out", out, "--redo")
    assert done.exit_code == 1 and "no such model" in done.stderr
    assert (out / "manifest.json").is_file()


def test_redo_replaces_an_earlier_export_at_the_end(
    trained_run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(exported, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}
    line = ("export", trained_run, "--out", out, "--format", "torch", "--redo")

    def broken(*_: Any) -> bytes:
        raise ExportError("no program")

    with monkeypatch.context() as patched:
        patched.setattr(stage, "torch_bytes", broken)
        done = invoke(*line)
    assert done.exit_code == 1 and "no program" in done.stderr
    done = invoke(*line, "--miss-rate", "0.1")
    assert done.exit_code == 1 and "a decision rule is stored in an ONNX file" in done.stderr
    kept = {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}
    assert kept == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    done = invoke(*line)
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("deletes export") and str(out) in done.stdout
    assert names_in(out) == ALL - {"model.onnx", "predict.py"}
