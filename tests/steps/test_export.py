"""The step ``export``: exported files, model card, resuming, and errors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from local_segmenter import colorful
from small_runs import (
    environment,
    interrupt_when,
    invoke,
    prepared,
    recipe,
    start,
    write_photos,
)
from tag2mask.artifacts.files import digest, read_json, write_json
from tag2mask.artifacts.handles import CamModel, Evaluation, Export, Predictions, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.masks import read_mask
from tag2mask.errors import ExportError, PackageError, RunFolderError, WeightsError
from tag2mask.evaluation.records import (
    EvaluationScores,
    MaskScores,
    PointScores,
    SplitScores,
    StageScores,
)
from tag2mask.recipe.sections import Predict
from tag2mask.seam.network import SeamSpec, build_seam, save_seam
from tag2mask.segmentation.inference.export_spec import KEY, ExportedSpec
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter, save_segmenter
from tag2mask.steps import export as stage
from tag2mask.steps.export import export

SPEC = SegmenterSpec(("cat", "dog", "bird"), "deeplabv3plus", "test_efficientnet", 16, 64)
ALL = {"MODEL_CARD.md", "manifest.json", "model-card.json", "model.onnx", "model.pt2"}
pytestmark = pytest.mark.usefixtures("one_thread")


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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network was trained on 9 photos, and whose predictions were evaluated."""
    root = tmp_path_factory.mktemp("run")
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
    return root


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
        None,
        masks,
        None,
        None,
        (),
        (
            StageScores("SEAM", 3, "known", point, None, None),
            StageScores("segmenter", 3, "no", point, None, None),
        ),
        left_out=1,
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


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = invoke("export", run, "--out", tmp_path_factory.mktemp("exported") / "net")
    assert done.exit_code == 0, done.stderr
    assert "(2 files)" in done.stdout
    return Path(done.stdout.split("export: ")[1].split(" (")[0])


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".lock")}


def test_files_and_manifest(run: Path, exported: Path) -> None:
    assert names_in(exported) == ALL
    manifest = Export.open(exported).manifest
    assert manifest.section == {"formats": ["onnx", "torch"]}
    assert (
        manifest.inputs["model"].fingerprint == SegmenterModel(run / "train-segmenter").fingerprint
    )
    assert set(manifest.metrics["largest_difference"]) == {"model.onnx", "model.pt2"}
    assert max(manifest.metrics["largest_difference"].values()) < 1e-3


def test_model_card_json(exported: Path) -> None:
    card = json.loads((exported / "model-card.json").read_text())
    assert card["name"] == "small" and card["parameters"] == 648_400
    assert ExportedSpec.from_json(json.dumps(card["spec"]), where=exported).classes == SPEC.classes
    assert [file["name"] for file in card["files"]] == ["model.onnx", "model.pt2"]
    for file in card["files"]:
        assert file["sha256"] == digest(exported / file["name"])
        assert file["bytes"] == (exported / file["name"]).stat().st_size
    assert card["training"]["section"]["epochs"] == 1
    assert card["training"]["counts"] == {"photos": 9, "without_masks": 0}
    assert card["data"]["name"] == "photos" and card["data"]["counts"]["train"] == 9
    assert card["left_out"] == {"val": 1}
    network, masks = card["scores"]
    assert (network["split"], network["photos"], network["tags"]) == ("val", 3, "no")
    assert (network["miou"], network["background_source"]) == (0.625, "argmax")
    assert (masks["masks_of"], masks["miou"], masks["tags"]) == ("the pseudo masks", 0.5, "known")
    assert (masks["background_threshold"], masks["background_source"]) == (0.3, "estimated")
    assert "MIT" in card["licence"] and "random weights" in card["licence"]
    assert set(card["versions"]) == {"torch", "onnx", "onnxruntime"}


def test_model_card_page(exported: Path) -> None:
    page = (exported / "MODEL_CARD.md").read_text()
    assert page.startswith("# small\n")
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["## Use", "## Classes", "## Training", "## Metrics", "## Licence"]
    assert "multiples of 16" in page and "is 64 px at scale 1" in page
    lines = [line.replace(" ", "") for line in page.splitlines()]
    assert any(line.startswith("|3|bird|#") for line in lines)
    assert "not checked by hand: 9 photos" in page and "train_segmenter:\n" in page
    assert "|val|3|thenetwork(segmenter)|no|argmax|62.5|75.0|50.0|" in lines
    assert "|val|3|thepseudomasks|known|0.3(estimated)|50.0|60.0|70.0|" in lines
    assert "1 val photos" in page
    assert (
        "saw photos at a long side of 64 px, times 1.0 and 1.5, with mirror images, without a "
        "dense CRF"
    ) in page
    assert "at least 16 px for `model.onnx` and 64 px for `model.pt2`" in page


def test_complete_export_is_not_repeated(
    run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "exported_program", None)
    assert export(run, ("torch", "onnx"), exported).path == exported
    with pytest.raises(RunFolderError, match=r'export\.formats: \["onnx", "torch"\] -> \["onnx"\]'):
        export(run, ("onnx",), exported)


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


def test_photos_are_labeled_without_torch(run: Path, exported: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

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
        run,
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
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "exported_program", Unexpected())
    out = tmp_path / "out"
    with step_folder(CamModel, tmp_path / "cam" / "train-cam", section={}) as step:
        cam = SeamSpec(classes=("cat", "dog"), backbone="test_efficientnet", output_stride=16)
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
    check_error(RunFolderError, "this folder holds an exported network", exported, out)
    check_error(WeightsError, "no such model", tmp_path / "gone.safetensors", out)
    whole = (run / "train-segmenter" / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:5000])
    check_error(WeightsError, "cut off", tmp_path / "cut.safetensors", out)
    net = build_segmenter(SPEC)
    with torch.no_grad():
        next(net.parameters())[0] = torch.inf
    save_segmenter(tmp_path / "inf.safetensors", net, SPEC)
    check_error(WeightsError, "aren't finite", tmp_path / "inf.safetensors", out)


def test_export_that_differs_leaves_no_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "exported_program", lambda net: net)
    monkeypatch.setattr(stage, "torch_bytes", lambda *_: b"program")
    monkeypatch.setattr(
        stage,
        "_torch_logits",
        lambda file: lambda images: np.zeros((len(images), 4, *images.shape[2:]), np.float32),
    )
    check_error(ExportError, "differs from the network", run, tmp_path / "out")
    message = invoke("export", run, "--out", tmp_path / "out", "--format", "torch")
    assert message.exit_code == 1 and message.stderr.startswith("error: the exported network")
    assert len(message.stderr.splitlines()) == 1


def test_ctrl_c_leaves_no_file_and_is_resumed(run: Path, exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupt_when(start("export", run, "--out", out), out.is_dir)
    assert not names_in(out) & ALL
    assert invoke("export", run, "--out", out).exit_code == 0
    assert names_in(out) == ALL
    assert (out / "model.onnx").read_bytes() == (exported / "model.onnx").read_bytes()


def test_error_in_one_format_leaves_no_file_of_the_other(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bytes:
        raise ExportError("no program")

    monkeypatch.setattr(stage, "exported_program", lambda net: net)
    monkeypatch.setattr(stage, "onnx_bytes", lambda *_: (exported / "model.onnx").read_bytes())
    monkeypatch.setattr(stage, "torch_bytes", broken)
    check_error(ExportError, "no program", run, tmp_path / "out", ("onnx", "torch"))


def test_missing_package(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tag2mask.segmentation.export.find_spec", lambda name: None)
    monkeypatch.setattr(stage, "exported_program", Unexpected())
    check_error(PackageError, r"pip install 'tag2mask\[onnx\]'", run, tmp_path / "out", ("onnx",))


def test_unknown_format(run: Path, tmp_path: Path) -> None:
    done = invoke("export", run, "--out", tmp_path / "out", "--format", "onnx,tflite")
    assert done.exit_code == 2 and "tflite" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def quick(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the exporters by copies of an exported file, which takes no time."""
    monkeypatch.setattr(stage, "exported_program", lambda net: net)
    monkeypatch.setattr(stage, "onnx_bytes", lambda *_: (exported / "model.onnx").read_bytes())


@pytest.mark.usefixtures("quick")
def test_new_evaluation_updates_the_card(run: Path, tmp_path: Path) -> None:
    import shutil

    own, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(run, own)
    export(own, ("onnx",), out)
    shutil.rmtree(own / "evaluate")
    evaluate(own, Predictions(own / "predict"), miou=0.875)
    export(own, ("onnx",), out)
    assert read_json(out / "model-card.json")["scores"][0]["miou"] == 0.875


@pytest.mark.usefixtures("quick")
def test_scores_of_another_network_are_not_in_the_card(run: Path, tmp_path: Path) -> None:
    import shutil

    own = tmp_path / "run"
    shutil.copytree(run, own)
    for name in ("manifest.json",):
        path = own / "predict" / name
        manifest = read_json(path)
        manifest["inputs"]["model"]["fingerprint"] = "another"
        write_json(path, manifest)
    export(own, ("onnx",), tmp_path / "out")
    card = read_json(tmp_path / "out" / "model-card.json")
    assert card["scores"] == [] and card["training"] is not None
    page = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "no evaluation beside the network" in page and "model.pt2" not in page


@pytest.mark.usefixtures("quick")
def test_step_folder_without_a_run(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run / "train-segmenter", tmp_path / "mine")
    for given in (tmp_path / "mine", tmp_path / "mine" / "model.safetensors"):
        out = tmp_path / f"out-{given.name}"
        export(given, ("onnx",), out)
        card = read_json(out / "model-card.json")
        assert card["training"] is not None and card["data"] is None and card["scores"] == []


@pytest.mark.usefixtures("quick")
def test_step_folder_with_another_section(run: Path, tmp_path: Path) -> None:
    with step_folder(SegmenterModel, tmp_path / "train-segmenter", section={"mine": 1}) as step:
        write_model(step.path / "model.safetensors")
        step.finish()
    export(tmp_path, ("onnx",), tmp_path / "out")
    assert "How it was trained is not recorded." in (tmp_path / "out/MODEL_CARD.md").read_text()


def test_missing_model_keeps_an_earlier_export(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with step_folder(Export, out, section={}) as step:
        step.finish()
    done = invoke("export", tmp_path / "gone", "--out", out, "--redo")
    assert done.exit_code == 1 and "no such model" in done.stderr
    assert (out / "manifest.json").is_file()


@pytest.mark.usefixtures("quick")
def test_model_file_without_a_folder(run: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("network.safetensors", "last.safetensors"):
        shutil.copy(run / "train-segmenter" / "model.safetensors", tmp_path / name)
    export(tmp_path / "network.safetensors", ("onnx",), tmp_path / "out")
    card = read_json(tmp_path / "out" / "model-card.json")
    assert card["name"] == "network"
    assert card["training"] is card["data"] is None and card["scores"] == []
    assert "not recorded" in (tmp_path / "out" / "MODEL_CARD.md").read_text()
