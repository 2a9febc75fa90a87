"""The page about parts of one's own: its example is trained, compared, saved, resumed, refused."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from small_runs import invoke, one_rank, prepared, recipe, trained, write_photos, write_recipe
from tag2mask.artifacts.handles import CamModel
from tag2mask.artifacts.identity import folder_status
from tag2mask.errors import PartError, RunFolderError, WeightsError
from tag2mask.files.json_file import read_json
from tag2mask.recipe.loading import load_recipe
from tag2mask.seam.model import load_seam
from tag2mask.steps.infer_cam import infer_cam

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "own-part.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ATTENTION = "lab_parts:Attention"
OPTIONS = {"train_cam__pcm__module": ATTENTION, "train_cam__pcm__options": {"size": 8}}


def example(language: str, place: int = 0) -> str:
    return [body for found, body in FENCE.findall(PAGE.read_text()) if found == language][place]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the page's module, on Python's path, with photos."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lab_parts.py").write_text(example("python"))
    write_photos(folder / "photos", 8, masks=True)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def test_the_example_is_checked(lab: Path) -> None:
    exec(example("python", 1), {})


@pytest.mark.slow
def test_the_example_goes_through_ablate(lab: Path) -> None:
    table = yaml.safe_load(example("yaml"))
    (lab / "lab.yaml").write_text(example("yaml"))
    small = write_recipe(lab / "small.yaml")
    words = ["ablate", "--data", lab / "photos", "--out", lab / "out", "--table", lab / "lab.yaml"]
    planned = invoke(*words, "--recipe", small, "--dry-run")
    assert planned.exit_code == 0, planned.output
    done = invoke(*words, "--recipe", small)
    assert done.exit_code == 0, done.output
    scores = read_json(lab / "out" / "ablation.json")
    names = [row["name"] for row in table["rows"]]
    assert [row["name"] for row in scores["rows"]] == names
    assert all(row["trials"][0]["state"] == "done" for row in scores["rows"])
    miou = [row["trials"][0]["measured"] for row in scores["rows"]]
    assert all(values != miou[0] for values in miou[1:]), "each part makes a difference"
    written = (lab / "out" / "table.md").read_text()
    assert all(name in written for name in names)
    assert len(list((lab / "out" / "steps").glob("train-cam-*"))) == len(names)


def test_the_trained_network_names_the_part(lab: Path, tmp_path: Path) -> None:
    data = prepared(lab / "photos", tmp_path / "prepare")
    model = trained(data, tmp_path / "train-cam", **OPTIONS)
    with pytest.raises(PartError, match="lab_parts:Attention, whose import runs code"):
        load_seam(model.file)
    net, spec = load_seam(model.file, modules=[ATTENTION])
    assert (spec.pcm_module, spec.pcm_options) == (ATTENTION, {"size": 8})
    assert type(net.pcm).__name__ == "Attention"
    section = recipe(**OPTIONS).infer_cam
    with pytest.raises(PartError, match="--allow-modules"):
        infer_cam(data, model, section, tmp_path / "maps", one_rank())
    words = ["infer-cam", "--data", data.path, "--model", model.path, "--out", tmp_path / "maps"]
    words += ["--recipe", write_recipe(tmp_path / "plain.yaml")]
    refused = invoke(*words)
    assert refused.exit_code == 1 and "--allow-modules" in refused.stderr
    assert not list((tmp_path / "maps").rglob("*.npz"))
    done = invoke(*words, "--allow-modules")
    assert done.exit_code == 0, done.output
    # A network with the part can only be continued with it, one without PCM can be by anyone.
    with pytest.raises(WeightsError, match=r"Set train_cam\.pcm\.module=lab_parts:Attention"):
        trained(data, tmp_path / "other", train_cam__init_from=str(model.file))
    first = trained(data, tmp_path / "pcm")
    with pytest.raises(WeightsError, match="another architecture: pcm_module None instead of 'lab"):
        trained(data, tmp_path / "lost", **OPTIONS, train_cam__init_from=str(first.file))
    other = trained(data, tmp_path / "plain", train_cam__pcm__enabled=False)
    start = {"train_cam__init_from": str(other.file)}
    continued = trained(data, tmp_path / "continued", **OPTIONS, **start)
    assert type(load_seam(continued.file, modules=[ATTENTION])[0].pcm).__name__ == "Attention"


def test_parts_train_the_network(lab: Path, tmp_path: Path) -> None:
    data = prepared(lab / "photos", tmp_path / "prepare")
    plain = trained(data, tmp_path / "plain")
    extra = [{"module": "lab_parts:Smooth", "weight": 2.0}]
    smooth = trained(data, tmp_path / "smooth", train_cam__losses__extra=extra)
    rows = (smooth.path / "losses.csv").read_text().splitlines()
    assert "extra1" in rows[0].split(",")
    first, second = load_seam(plain.file)[0], load_seam(smooth.file)[0]
    assert not torch.equal(first.head.weight, second.head.weight)
    turned = {"train_cam__views": {"enabled": True, "module": "lab_parts:QuarterTurns"}}
    third = load_seam(trained(data, tmp_path / "turned", **turned).file)[0]
    assert not torch.equal(first.head.weight, third.head.weight)


def test_another_source_is_another_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "lab_edited.py"
    source.write_text(example("python"))
    data = prepared(write_photos(tmp_path / "photos", 8), tmp_path / "prepare")
    part = {"train_cam__pcm__module": "lab_edited:Attention"}
    model = trained(data, tmp_path / "train-cam", **part)
    assert trained(data, tmp_path / "train-cam", **part).fingerprint == model.fingerprint
    source.write_text(example("python") + "\n# edited\n")
    with pytest.raises(RunFolderError, match=r"input pcm\.module: \w+\.\. -> "):
        trained(data, tmp_path / "train-cam", **part)
    with pytest.raises(PartError, match="changed since it was imported"):
        trained(data, tmp_path / "again", **part)
    section = recipe(**part).train_cam
    state = folder_status(CamModel, tmp_path / "train-cam", section)
    assert state.state == "stale"
    change = "train_cam.pcm.module: the source of lab_edited:Attention has changed"
    assert state.settings == (change,)
    source.unlink()
    assert folder_status(CamModel, tmp_path / "train-cam", section).state == "fresh"
    assert trained(data, tmp_path / "train-cam", **part).fingerprint == model.fingerprint


def test_a_recipe_of_a_run_imports_nothing_without_consent(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lab_bomb.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    changes = {"train_cam__pcm__module": "lab_bomb:Part"}
    written = write_recipe(tmp_path / "run.yaml", **changes)
    data = prepared(lab / "photos", tmp_path / "prepare")
    words = ["--recipe", written, "--out", tmp_path / "out"]
    for command in (
        ["run", "--data", lab / "photos", "--dry-run", *words],
        ["run", "--data", lab / "photos", *words],
        ["train-cam", "--data", data.path, *words],
        ["ablate", "--data", lab / "photos", *words],
    ):
        result = invoke(*command)
        assert result.exit_code == 1 and "--allow-modules" in result.stderr, result.output
        assert not (tmp_path / "imported").exists() and not (tmp_path / "out").exists()
    result = invoke("run", "--data", lab / "photos", *words, "--allow-modules")
    assert (tmp_path / "imported").exists()
    assert result.exit_code == 1 and "has no class 'Part'" in result.stderr, result.output
    assert not (tmp_path / "out" / "train-cam").exists(), "refused before any step"


def test_a_module_that_is_no_python_is_one_message(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lab_syntax.py").write_text("class :\n")
    words = ["--set", "train_cam.pcm.module=lab_syntax:Part", "--out", tmp_path / "out"]
    small = write_recipe(tmp_path / "small.yaml")
    result = invoke("run", "--data", lab / "photos", "--recipe", small, *words)
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert "importing its module raised SyntaxError" in result.stderr


@pytest.mark.parametrize("left", ["raise SystemExit(0)", "import sys; sys.exit('no license')"])
def test_a_constructor_that_ends_python_is_one_message(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"lab_ends_{len(left)}"  # a module is imported once per process
    code = example("python").replace("super().__init__()", left, 1)
    (tmp_path / f"{name}.py").write_text(code)
    words = ["--recipe", write_recipe(tmp_path / "small.yaml"), "--out", tmp_path / "out"]
    words += ["--set", f"train_cam.pcm.module={name}:Attention"]
    result = invoke("run", "--data", lab / "photos", *words)
    assert result.exit_code == 1, result.output
    assert "its constructor raised SystemExit: " in result.stderr
    assert not (tmp_path / "out" / "train-cam").exists()


def test_edited_source_is_refused_at_the_start(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lab_later.py").write_text(example("python"))
    words = ["run", "--data", lab / "photos", "--out", tmp_path / "out", "--until", "train-cam"]
    words += ["--recipe", write_recipe(tmp_path / "small.yaml")]
    words += ["--set", "train_cam.pcm.module=lab_later:Attention"]
    assert invoke(*words).exit_code == 0
    (tmp_path / "lab_later.py").write_text(example("python") + "\n# edited\n")
    for more in ([], ["--dry-run"]):
        result = invoke(*words, *more)
        assert result.exit_code == 1, result.output
        assert "the source of lab_later:Attention has changed" in result.stderr
        assert "--redo train-cam" in result.stderr


def test_a_class_that_breaks_the_protocol_stops_the_start(
    tmp_path: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    wrong = example("python").replace(").view_as(maps)", ")")
    (tmp_path / "lab_wrong.py").write_text(wrong)
    words = ["--set", "train_cam.pcm.module=lab_wrong:Attention"]
    small = write_recipe(tmp_path / "small.yaml")
    out = tmp_path / "out"
    for more in (["--dry-run"], []):
        call = ["run", "--data", lab / "photos", "--recipe", small, "--out", out, *words, *more]
        result = invoke(*call)
        assert result.exit_code == 1, result.output
        assert "maps of shape (2, 4, 12, 18) became (2, 4, 216)" in result.stderr
        assert "Traceback" not in result.output and not (out / "prepare").exists()


def test_a_run_is_continued_with_consent(lab: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(write_recipe(tmp_path / "small.yaml", **OPTIONS).read_text())
    values["train_cam"]["pcm"].pop("channels")  # they have no effect on a part
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    out = tmp_path / "run"
    words = ["run", "--data", lab / "photos", "--out", out]
    done = invoke(*words, "--recipe", tmp_path / "mine.yaml", "--until", "train-cam")
    assert done.exit_code == 0, done.output
    again = invoke(*words, "--until", "infer-cam")
    assert again.exit_code == 1 and "--allow-modules" in again.stderr
    done = invoke(*words, "--until", "infer-cam", "--allow-modules")
    assert done.exit_code == 0, done.output
    assert invoke("status", out).exit_code == 0
    assert load_recipe(out / "recipe.yaml", allow_modules=True).train_cam.pcm.options == {"size": 8}
    assert CamModel.open(out / "train-cam").manifest.inputs["pcm.module"]
