"""The model card that the step ``export`` writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from export_scenes import SPEC, evaluate, write_model

from small_runs import invoke
from tag2mask.artifacts.handles import Predictions, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import DataError, ExportError, RunFolderError
from tag2mask.files.digests import digest
from tag2mask.files.json_file import read_json, write_json
from tag2mask.metrics.class_rule import ClassRule
from tag2mask.segmentation.inference.export_spec import DecisionRule, ExportedSpec
from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter
from tag2mask.steps import export as stage
from tag2mask.steps.export import export

ALL = {"MODEL_CARD.md", "manifest.json", "model-card.json", "model.onnx", "model.pt2"}
pytestmark = pytest.mark.usefixtures("one_thread")


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
    assert "MIT" in card["license"] and "random weights" in card["license"]
    assert [c["missed"] for c in card["rates"]["val"]["classes"]] == [1] * len(SPEC.classes)
    assert set(card["versions"]) == {"torch", "onnx", "onnxruntime"}


def test_model_card_page(exported: Path) -> None:
    page = (exported / "MODEL_CARD.md").read_text()
    assert page.startswith("# small\n")
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["## Use", "## Classes", "## Training", "## Metrics", "## License"]
    assert "The files compute in float32." in page and "in bf16, up to 0.2 % of" in page
    assert "multiples of 16" in page and "is 64 px at scale 1" in page
    lines = [line.replace(" ", "") for line in page.splitlines()]
    assert any(line.startswith("|3|bird|#") for line in lines)
    assert "not checked by hand: 9 photos" in page and "train_segmenter:\n" in page
    assert "|val|3|thenetwork(segmenter)|no|argmax|62.5|75.0|50.0|" in lines
    assert "|val|3|thepseudomasks|known|0.3(estimated)|50.0|60.0|70.0|" in lines
    assert "1 val photos" in page
    assert "|bird|50.0(10.0–90.0)|1of2|0.0(0.0–60.0)|0of2|" in lines
    assert "a photo shows a class from 0.10 % of its area on" in page
    assert (
        "saw photos at a long side of 64 px, times 1.0 and 1.5, with mirror images, without a "
        "dense CRF"
    ) in page
    assert "at least 16 px for `model.onnx` and 64 px for `model.pt2`" in page


@pytest.fixture
def quick(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the exporters by copies of an exported file, which takes no time."""
    monkeypatch.setattr(stage, "exported_program", lambda net: net)
    monkeypatch.setattr(stage, "onnx_bytes", lambda *_: (exported / "model.onnx").read_bytes())


@pytest.mark.usefixtures("quick")
def test_new_evaluation_updates_the_card(trained_run: Path, tmp_path: Path) -> None:
    own, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(trained_run, own)
    export(own, ("onnx",), out)
    shutil.rmtree(own / "evaluate")
    evaluate(own, Predictions(own / "predict"), miou=0.875)
    export(own, ("onnx",), out)
    assert read_json(out / "model-card.json")["scores"][0]["miou"] == 0.875


@pytest.mark.usefixtures("quick")
def test_the_card_counts_masks_that_people_drew_or_accepted(
    trained_run: Path, tmp_path: Path
) -> None:
    own = tmp_path / "run"
    shutil.copytree(trained_run, own)
    path = own / "train-segmenter" / "manifest.json"
    manifest = read_json(path)
    manifest["counts"] |= {"drawn": 2, "imported": 1, "accepted": 3, "made": 3}
    write_json(path, manifest)
    export(own, ("onnx",), tmp_path / "out")
    page = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "and masks that a person drew or accepted" in page
    assert "2 drawn, 1 imported, 3 accepted, 3 made" in page


@pytest.mark.usefixtures("quick")
def test_scores_of_another_network_are_not_in_the_card(trained_run: Path, tmp_path: Path) -> None:
    own = tmp_path / "run"
    shutil.copytree(trained_run, own)
    for name in ("manifest.json",):
        path = own / "predict" / name
        manifest = read_json(path)
        manifest["inputs"]["model"]["fingerprint"] = "another"
        write_json(path, manifest)
    export(own, ("onnx",), tmp_path / "out")
    card = read_json(tmp_path / "out" / "model-card.json")
    assert card["scores"] == [] and card["training"] is not None
    page = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "no evaluation next to the network" in page and "model.pt2" not in page


@pytest.mark.usefixtures("quick")
def test_step_folder_without_a_run(trained_run: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_run / "train-segmenter", tmp_path / "mine")
    for given in (tmp_path / "mine", tmp_path / "mine" / "model.safetensors"):
        out = tmp_path / f"out-{given.name}"
        export(given, ("onnx",), out)
        card = read_json(out / "model-card.json")
        assert card["training"] is not None and card["data"] is None and card["scores"] == []


@pytest.mark.usefixtures("quick")
def test_step_folder_with_another_section(trained_run: Path, tmp_path: Path) -> None:
    with step_folder(SegmenterModel, tmp_path / "train-segmenter", section={"mine": 1}) as step:
        write_model(step.path / "model.safetensors")
        step.finish()
    export(tmp_path, ("onnx",), tmp_path / "out")
    assert "How it was trained is not recorded." in (tmp_path / "out/MODEL_CARD.md").read_text()


@pytest.mark.usefixtures("quick")
def test_model_file_without_a_folder(trained_run: Path, tmp_path: Path) -> None:
    for name in ("network.safetensors", "last.safetensors"):
        shutil.copy(trained_run / "train-segmenter" / "model.safetensors", tmp_path / name)
    export(tmp_path / "network.safetensors", ("onnx",), tmp_path / "out")
    card = read_json(tmp_path / "out" / "model-card.json")
    assert card["name"] == "network"
    assert card["training"] is card["data"] is None and card["scores"] == []
    assert "not recorded" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


RULE = DecisionRule(
    classes={"cat": ClassRule(0.05, 0.6, 0.1, 40, 1, 60, 2)},
    units="photos",
    temperature=1.5,
    temperature_from="masks",
    group=None,
)


@pytest.mark.usefixtures("quick")
def test_decision_rule(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the file, in the record and in the card; another target is another export."""
    monkeypatch.setattr(stage, "decision_rule", lambda *_: RULE)
    out = tmp_path / "out"
    export(trained_run, ("onnx",), out, miss_rates={"cat": 0.1})
    spec = ExportedSpec.from_json((out / "record.json").read_text(), where=out)
    assert OnnxSegmenter.open(out / "model.onnx").spec.decisions == spec.decisions == RULE
    page = (out / "MODEL_CARD.md").read_text()
    assert "## Decisions" in page and "calibrated on masks (temperature 1.5)" in page
    lines = [line.replace(" ", "") for line in page.splitlines()]
    assert "|cat|5.0|60.0|0.1|1of40|2of60|" in lines
    with pytest.raises(RunFolderError, match=r"export\.miss_rates\.cat: 0\.1 -> 0\.2"):
        export(trained_run, ("onnx",), out, miss_rates={"cat": 0.2})


@pytest.mark.usefixtures("quick")
def test_miss_rates_that_can_not_be_shown_leave_no_file(trained_run: Path, tmp_path: Path) -> None:
    done = invoke(
        *("export", trained_run, "--out", tmp_path / "out", "--format", "onnx"),
        *("--miss-rate", "0.1", "--miss-rate", "cat=none"),
    )
    assert done.exit_code == 1
    assert "can't show these miss rates" in done.stderr and "  - dog: " in done.stderr
    assert "  - cat: " not in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"started.json", ".lock"}


def test_decision_rules_need_a_run_and_an_onnx_file(trained_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="stored in an ONNX file"):
        export(trained_run, ("torch",), tmp_path / "out", miss_rates={"": 0.5})
    model = shutil.copy(trained_run / "train-segmenter" / "model.safetensors", tmp_path)
    with pytest.raises(DataError, match="needs the run's prepare folder"):
        export(Path(model), ("onnx",), tmp_path / "out", miss_rates={"": 0.5})
    assert not (tmp_path / "out").exists()
