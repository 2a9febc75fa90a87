"""Order of the steps, what a change keeps, and the state of a run; the steps are fakes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tag2mask.artifacts.deletion import remove_step_folder
from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    Evaluation,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    SegmenterModel,
    WalkedMaps,
)
from tag2mask.artifacts.identity import folder_status
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.artifacts.step_table import MODELS, STEPS
from tag2mask.data.inventory import Inventory, InventoryEntry
from tag2mask.data.prepare import listing as data_listing
from tag2mask.data.prepare.listing import list_data
from tag2mask.data.splits import SPLITS
from tag2mask.errors import (
    DataChangedError,
    DataError,
    ProblemsError,
    RecipeError,
    RunFolderError,
    Tag2MaskError,
)
from tag2mask.pipeline import run as pipeline
from tag2mask.pipeline.dry_run import dry_run
from tag2mask.pipeline.status import status
from tag2mask.recipe.loading import load_recipe, recipe_from
from tag2mask.recipe.schema import Recipe
from tag2mask.steps import prepare
from tag2mask.steps.start_checks import START_CHECKS

AFFINITY = ["affinity-labels", "train-affinity", "walk"]
NETWORK = ["train-segmenter", "predict"]
ALL = [
    "prepare",
    "train-cam",
    "infer-cam",
    *AFFINITY,
    "pseudo-masks",
    *NETWORK,
    "evaluate",
    "report",
]
FUNCTIONS = {step.replace("-", "_"): step.replace("-", "_") for step in ALL} | {
    "predict": "predict_prepared",
    "trainers.trial_networks": "try_network",
}
"""Of a run, by the module of the step."""


class OneRank:
    """A runtime of one process that computes nothing."""

    rank = 0
    world_size = 1

    def all_gather_object(self, value: Any) -> list[Any]:
        return [value]

    def barrier(self) -> None:
        pass


def listed_or_fake(
    data: Path, section: Any, prepared: Path | None, corrections: Path | None = None
) -> Inventory:
    """List a data folder; an empty one stands for two photos with masks."""
    if not data.is_dir() or any(data.iterdir()):
        return list_data(data, section, prepared, corrections)
    entries = [
        InventoryEntry(split, split, ("cat",), f"{split}.png", "1-1", mask=f"m-{split}.png")
        for split in SPLITS
    ]
    return Inventory("csv", data, ("cat",), tuple(entries), found_splits=SPLITS)


@dataclass
class FakeSteps:
    """Steps that only write their manifests, and note each time they really work."""

    worked: list[str] = field(default_factory=list)
    listing: str = "listing-1"
    fail_at: str | None = None
    skipped: tuple[str, ...] = ()
    tried: list[type[Handle]] = field(default_factory=list)
    downloads: list[bool] = field(default_factory=list)
    unknown_network: bool = False

    def work(self, kind: type[Handle], out: Path, **identity: Any) -> Any:
        with step_folder(kind, out, **identity) as step:
            if step.complete:
                return step.handle
            if self.fail_at == kind.step:
                raise DataError("photo a can't be read", where="a.jpg")
            self.worked.append(kind.step)
            for name in kind.needs:
                (out / name).touch()
            return step.finish(skipped=self.skipped if kind is CamMaps else ())

    def try_network(
        self, kind: type[Handle], recipe: Recipe, run: Path, *, cam_due: bool, download: bool
    ) -> None:
        self.downloads.append(download)
        self.tried.append(kind)
        if self.unknown_network and kind is SegmenterModel:
            raise RecipeError("no encoder 'x'", where="network.encoder", fix="Name another.")

    def prepare(
        self,
        data: Path,
        section: Any,
        out: Path,
        *,
        update: bool = False,
        listed: Inventory | None = None,
    ) -> Any:
        if out.exists() and not update:
            assert PreparedData.open(out).manifest.coverage["photos"].fingerprint == self.listing
        return self.work(PreparedData, out, section=section, coverage={"photos": self.listing})

    def train_cam(
        self, data: Any, section: Any, out: Path, runtime: Any, start: Path | None = None
    ) -> Any:
        assert start is None
        return self.work(CamModel, out, section=section, inputs={"data": data})

    def infer_cam(
        self, data: Any, model: Any, section: Any, out: Path, runtime: Any, modules: Any = ()
    ) -> Any:
        return self.work(
            CamMaps, out, section=section, inputs={"model": model}, coverage={"data": data}
        )

    def affinity_labels(self, data: Any, maps: Any, section: Any, out: Path, runtime: Any) -> Any:
        return self.work(
            AffinityLabels, out, section=section, coverage={"data": data, "maps": maps}
        )

    def train_affinity(self, data: Any, labels: Any, section: Any, out: Path, runtime: Any) -> Any:
        return self.work(
            AffinityModel, out, section=section, inputs={"data": data, "labels": labels}
        )

    def walk(self, data: Any, maps: Any, model: Any, section: Any, out: Path, runtime: Any) -> Any:
        return self.work(
            WalkedMaps,
            out,
            section=section,
            inputs={"model": model},
            coverage={"data": data, "maps": maps},
        )

    def pseudo_masks(self, data: Any, maps: Any, section: Any, out: Path, runtime: Any) -> Any:
        name = "walked maps" if isinstance(maps, WalkedMaps) else "maps"
        return self.work(
            PseudoMaskFolder, out, section=section, coverage={"data": data, name: maps}
        )

    def train_segmenter(
        self, data: Any, masks: Any, section: Any, out: Path, runtime: Any, cam: Any
    ) -> Any:
        inputs = {"data": data, "masks": masks, **({} if cam is None else {"cam": cam})}
        return self.work(SegmenterModel, out, section=section, inputs=inputs)

    def predict_prepared(self, data: Any, model: Any, section: Any, out: Path, runtime: Any) -> Any:
        return self.work(
            Predictions, out, section=section, inputs={"model": model}, coverage={"data": data}
        )

    def evaluate(
        self,
        data: Any,
        maps: Any,
        masks: Any,
        section: Any,
        out: Path,
        runtime: Any,
        earlier: Sequence[Any] = (),
        predictions: Any = None,
    ) -> Any:
        others = {"earlier maps": earlier[-1]} if earlier else {}
        if predictions is not None:
            others["predictions"] = predictions
        return self.work(
            Evaluation,
            out,
            section=section,
            coverage={"data": data, "maps": maps, "masks": masks, **others},
        )

    def report(self, run: Path, section: Any, out: Path, compare: Sequence[Path] = ()) -> Any:
        if folder_status(ReportPage, out, section).state == "stale":
            remove_step_folder(ReportPage, out)
        return self.work(
            ReportPage, out, section=section, inputs={"evaluate": Evaluation.open(run / "evaluate")}
        )


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    fake = FakeSteps()
    for name, function in FUNCTIONS.items():
        module = ModuleType(f"tag2mask.steps.{name}")
        setattr(module, function, getattr(fake, function))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(data_listing, "list_data", listed_or_fake)
    monkeypatch.setattr(pipeline, "start_runtime", lambda settings: OneRank())
    return fake


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def states(run: Path) -> dict[str, str]:
    return {found.step: found.folder.state for found in status(run)}


def test_a_run_takes_every_step_once_and_keeps_its_recipe(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out, recipe = tmp_path / "run", recipe_from({"name": "mine", "train_cam": {"epochs": 2}})
    result = pipeline.run(data, recipe, out)
    assert stages.worked == list(result.handles) == ALL
    assert load_recipe(out / "recipe.yaml") == recipe
    assert set(states(out).values()) == {"fresh"}
    pipeline.run(data, recipe, out)
    assert stages.worked == ALL


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("train-cam", "model.safetensors"),
        ("train-affinity", "model.safetensors"),
        ("train-segmenter", "model.safetensors"),
        ("evaluate", "evaluation.json"),
    ],
)
def test_a_lost_file_is_written_again(
    stages: FakeSteps, data: Path, tmp_path: Path, step: str, name: str
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    (out / step / name).unlink()
    (found,) = (found for found in status(out) if found.step == step)
    assert (found.folder.state, found.folder.reasons) == ("partial", (f"{name}: missing",))
    with pytest.raises(RunFolderError, match=rf"{name} is missing.*run `tag2mask {step}` again"):
        next(kind for kind in STEPS if kind.step == step).open(out / step)
    pipeline.run(data, Recipe(), out)
    assert stages.worked == [*ALL, step] and (out / step / name).is_file()
    assert set(states(out).values()) == {"fresh"}


def test_until_stops_and_the_rest_is_done_later(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert list(pipeline.run(data, Recipe(), out, until="infer-cam").handles) == ALL[:3]
    assert states(out)["infer-cam"] == "fresh"
    assert states(out)["pseudo-masks"] == "missing"
    pipeline.run(data, Recipe(), out)
    assert stages.worked == ALL


def test_an_error_leaves_a_partial_step_that_is_resumed(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out, stages.fail_at = tmp_path / "run", "infer-cam"
    with pytest.raises(DataError, match="can't be read"):
        pipeline.run(data, Recipe(), out)
    assert states(out) | {"infer-cam": "partial"} == states(out)
    stages.fail_at = None
    pipeline.run(data, Recipe(), out)
    assert stages.worked == ALL


def test_another_recipe_is_refused_before_anything_is_touched(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    before = (out / "recipe.yaml").read_bytes()
    other = recipe_from(
        {"infer_cam": {"flip": False}, "pseudo_masks": {"background_threshold": 0.5}}
    )
    with pytest.raises(RunFolderError) as caught:
        pipeline.run(data, other, out)
    assert "infer_cam.flip: true -> false" in str(caught.value)
    assert "pseudo_masks.background_threshold: 0.26 -> 0.5" in str(caught.value)
    assert "--redo" in str(caught.value)
    assert (out / "recipe.yaml").read_bytes() == before
    assert stages.worked == ALL


def test_the_report_takes_other_settings(stages: FakeSteps, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    pipeline.run(data, recipe_from({"report": {"title": "mine"}}), out)
    assert stages.worked == [*ALL, "report"]


def test_an_unchanged_recipe_is_not_written_again(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    before = (out / "recipe.yaml").stat().st_mtime_ns
    pipeline.run(data, Recipe(), out)
    assert (out / "recipe.yaml").stat().st_mtime_ns == before
    with (out / "recipe.yaml").open("ab") as file:
        file.write(b"\xff")  # no UTF-8: it is only ever compared and replaced
    pipeline.run(data, Recipe(), out)
    assert load_recipe(out / "recipe.yaml") == Recipe()


@pytest.mark.parametrize("text", ["train_cam: {epochs: 3}  # tried 5 before\n", "shopping: [milk"])
def test_a_recipe_written_by_hand_is_not_replaced(
    stages: FakeSteps, data: Path, tmp_path: Path, text: str
) -> None:
    own = tmp_path / "recipe.yaml"
    own.write_text(text)
    with pytest.raises(RunFolderError, match=r"holds a recipe\.yaml that no run wrote"):
        pipeline.run(data, Recipe(), tmp_path)
    assert own.read_text() == text
    assert not stages.worked


def test_a_recipe_written_by_hand_beside_folders_of_steps_is_not_replaced(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out, until="prepare")
    text = "train_cam: {epochs: 3}  # tried 5 before\n"
    (out / "recipe.yaml").write_text(text)
    with pytest.raises(RunFolderError, match="give it with --recipe"):
        pipeline.run(data, load_recipe(out / "recipe.yaml"), out)
    assert (out / "recipe.yaml").read_text() == text and stages.worked == ["prepare"]
    own = (out / "recipe.yaml").rename(tmp_path / "recipe.yaml")
    pipeline.run(data, load_recipe(own), out)
    assert own.read_text() == text and stages.worked == ALL


def test_what_a_refused_first_attempt_left_is_replaced(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    stages.fail_at = "train-cam"
    with pytest.raises(DataError):
        pipeline.run(data, Recipe(), tmp_path / "run")
    stages.fail_at = None
    other = recipe_from({"train_cam": {"epochs": 3}})
    pipeline.run(data, other, tmp_path / "run")
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == other


def make_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder seem to be on a read-only file system, on which root can't write either."""
    access, opened = os.access, Path.open

    def access_path(path: Path, mode: int) -> bool:
        return not (mode & os.W_OK and path.is_relative_to(folder)) and access(path, mode)

    def open_path(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if set(mode) & set("wax+") and path.is_relative_to(folder):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, mode, *args, **options)

    monkeypatch.setattr(os, "access", access_path)
    monkeypatch.setattr(Path, "open", open_path)


def test_a_finished_run_in_a_read_only_folder_is_finished(
    stages: FakeSteps, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    make_read_only(out, monkeypatch)
    assert list(pipeline.run(data, Recipe(), out).handles) == ALL == stages.worked
    assert set(states(out).values()) == {"fresh"}
    with pytest.raises(RunFolderError, match=r"file system is read-only.*Give a folder on a writ"):
        pipeline.run(data, Recipe(), out, redo="predict")


def test_an_unfinished_run_in_a_read_only_folder_is_an_error(
    stages: FakeSteps, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out, until="infer-cam")
    make_read_only(out, monkeypatch)
    with pytest.raises(RunFolderError, match=r"file system is read-only .*affinity-labels"):
        pipeline.run(data, Recipe(), out)


def test_redo_repeats_a_step_and_all_later_ones(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    other = recipe_from({"infer_cam": {"flip": False}})
    pipeline.run(data, other, out, redo="infer-cam")
    assert stages.worked == ALL + ALL[2:]
    assert set(states(out).values()) == {"fresh"}


def test_a_redo_keeps_everything_until_its_first_step_has_begun(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    before = {path: path.read_bytes() for path in out.rglob("*.*") if path.name != ".lock"}
    other = recipe_from({"infer_cam": {"flip": False}})
    stages.fail_at = "infer-cam"
    with pytest.raises(DataError, match="can't be read"):
        pipeline.run(data, other, out, redo="infer-cam")
    assert before == {path: path.read_bytes() for path in out.rglob("*.*") if path.name != ".lock"}
    assert set(states(out).values()) == {"fresh"}, "with the earlier recipe"
    stages.fail_at = "affinity-labels"
    with pytest.raises(DataError, match="can't be read"):
        pipeline.run(data, other, out, redo="infer-cam")
    found = states(out)
    assert [found[step] for step in ALL[:3]] == ["fresh"] * 3, "the earlier results are gone"
    assert {found[step] for step in ALL[4:]} == {"missing"}
    stages.fail_at = None
    pipeline.run(data, other, out)
    assert set(states(out).values()) == {"fresh"}


def test_a_refused_redo_deletes_nothing(stages: FakeSteps, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    other = recipe_from({"prepare": {"val_split": None}})
    with pytest.raises(RunFolderError, match=r"prepare\.val_split.*--redo"):
        pipeline.run(data, other, out, redo="train-cam")
    assert states(out) == dict.fromkeys(ALL, "fresh") and stages.worked == ALL


def test_a_run_to_compare_with_must_exist_at_the_start(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunFolderError, match="nowhere"):
        pipeline.run(data, Recipe(), tmp_path / "run", compare=[tmp_path / "nowhere"])
    assert stages.worked == [] and not (tmp_path / "run").exists()


def test_networks_that_train_late_are_tried_before_anything_is_touched(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out, stages.unknown_network = tmp_path / "run", True
    with pytest.raises(RecipeError, match="no encoder"):
        pipeline.run(data, Recipe(), out)
    assert stages.worked == [] and not out.exists()
    stages.unknown_network = False
    pipeline.run(data, Recipe(), out)
    pipeline.run(data, Recipe(), out)  # nothing is left to train
    assert stages.tried == [*MODELS] * 2
    pipeline.run(data, Recipe(), out, redo="train-segmenter")
    assert stages.tried[6:] == [SegmenterModel]
    stages.unknown_network = True
    with pytest.raises(RecipeError):
        pipeline.run(data, Recipe(), out, redo="train-cam")
    assert set(states(out).values()) == {"fresh"}


@pytest.mark.parametrize(
    ("changes", "step", "words"),
    [
        ({"pseudo_masks": {"threshold_from": "calibrated"}}, "pseudo-masks", "can't be calibrated"),
        ({"evaluate": {"leave_out": "nolist.txt"}}, "evaluate", "no list of ids"),
    ],
)
def test_what_a_later_step_would_refuse_ends_run_and_dry_run_at_the_start(
    stages: FakeSteps, data: Path, tmp_path: Path, changes: Any, step: str, words: str
) -> None:
    write_tagged_photos(data, 8)
    out = tmp_path / "run"
    recipe = recipe_from(changes)
    with pytest.raises(Tag2MaskError, match=words) as caught:
        pipeline.run(data, recipe, out)
    assert stages.worked == [] and not out.exists()
    plan = dry_run(data, recipe, out)
    assert str(plan.refusal) == str(caught.value)
    assert {found.step for found in plan.steps if found.action == "refuse"} == {step}
    pipeline.run(data, Recipe(), out)
    with pytest.raises(Tag2MaskError, match=words):  # a refused redo deletes nothing
        pipeline.run(data, recipe, out, redo=step)
    assert set(states(out).values()) == {"fresh"}


def test_a_dry_run_refuses_a_run_to_compare_with_that_does_not_exist(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    write_tagged_photos(data, 8)
    plan = dry_run(data, Recipe(), tmp_path / "run", compare=[tmp_path / "nowhere"])
    assert "nowhere" in str(plan.refusal) and plan.steps[-1].action == "refuse"


def test_a_new_class_ends_a_run_at_the_start(
    looked_at: FakeSteps, data: Path, tmp_path: Path
) -> None:
    write_tagged_photos(data, 8)
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    before = (out / "prepare" / "manifest.json").read_bytes()
    table = data / "tags.csv"
    table.write_text(table.read_text().replace("1.png,cat", "1.png,dog"))
    for update in (True, False):
        with pytest.raises(DataChangedError, match=r"classes: .*new dog.*--redo train-cam.*1 min"):
            pipeline.run(data, Recipe(), out, update=update)
        assert (out / "prepare" / "manifest.json").read_bytes() == before
        plan = dry_run(data, Recipe(), out, update=update)
        assert "new dog" in str(plan.refusal) and plan.steps[1].action == "refuse"
    pipeline.run(data, Recipe(), out, update=True, redo="train-cam")
    assert set(states(out).values()) == {"fresh"}


def test_a_network_is_not_continued_in_its_own_folder(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    for step in ("train-cam", "train-segmenter"):
        section, file = step.replace("-", "_"), str(out / step / "model.safetensors")
        recipe = recipe_from({section: {"init_from": file}})
        for attempt in (pipeline.run, dry_run):
            with pytest.raises(RecipeError, match=rf"{section}\.init_from.*folder.*--from"):
                attempt(data, recipe, out, redo=step)
    assert set(states(out).values()) == {"fresh"}


def test_status_notices_what_changed_in_the_data(
    looked_at: FakeSteps, data: Path, tmp_path: Path
) -> None:
    write_tagged_photos(data, 8)
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    assert set(states(out).values()) == {"fresh"}
    write_tagged_photos(data, 10)
    found = {state.step: state.folder for state in status(out)}
    assert found["prepare"].state == "stale"
    assert found["prepare"].reasons[0] == "2 photos added since"
    assert found["train-cam"].reasons == ("prepare is stale",)
    pipeline.run(data, Recipe(), out, update=True)
    assert states(out)["prepare"] == "fresh"
    table = data / "tags.csv"
    rows = table.read_text()
    table.write_text(f"{rows}gone.jpg,{rows.splitlines()[1].partition(',')[2]}\n")
    found = {state.step: state.folder for state in status(out)}
    assert found["prepare"].reasons == ("not compared with the data: 1 problem in the data",)
    table.write_text(rows)
    data.rename(tmp_path / "away")
    found = {state.step: state.folder for state in status(out)}
    assert found["prepare"].state == "fresh"
    assert "not compared with the data: no" in found["prepare"].reasons[0]


def test_problems_of_the_data_come_before_what_follows_from_them(
    looked_at: FakeSteps, data: Path, tmp_path: Path
) -> None:
    write_tagged_photos(data, 8)
    (data / "classes.txt").write_text("dog\n")
    recipe = recipe_from({"pseudo_masks": {"threshold_from": "calibrated"}})
    with pytest.raises(ProblemsError, match="unknown tag 'cat'"):
        pipeline.run(data, recipe, tmp_path / "run")
    (data / "classes.txt").write_text("cat\n")
    pipeline.run(data, Recipe(), tmp_path / "run")
    (data / "classes.txt").write_text("dog\n")
    with pytest.raises(ProblemsError, match="unknown tag 'cat'"):
        pipeline.run(data, Recipe(), tmp_path / "run", redo="prepare")
    (data / "classes.txt").write_text("cat\n")
    assert set(states(tmp_path / "run").values()) == {"fresh"}


def test_redo_deletes_nothing_that_would_not_be_repeated(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    with pytest.raises(DataError, match=r"walk comes after prepare.*--redo"):
        pipeline.run(data, Recipe(), out, redo="walk", until="prepare")
    assert set(states(out).values()) == {"fresh"}
    pipeline.run(data, Recipe(), out, redo="walk", until="walk")
    assert stages.worked == [*ALL, "walk"]


def test_update_keeps_the_models_and_redoes_what_depends_on_the_data(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out, models = tmp_path / "run", ("train-cam", "train-affinity", "train-segmenter")
    pipeline.run(data, Recipe(), out)
    before = [(out / model / "manifest.json").read_bytes() for model in models]
    stages.listing = "listing-2"
    pipeline.run(data, Recipe(), out, update=True)
    updated = [*ALL, *(step for step in ALL if step not in models)]
    assert stages.worked == updated
    assert [(out / model / "manifest.json").read_bytes() for model in models] == before
    # The models' manifests say that they were trained on the older data; the rest is up to date.
    found = {state.step: state.folder for state in status(out)}
    for model in models:
        assert found[model].state == "stale"
        assert found[model].reasons[0].startswith("data: changed")
    assert found["train-affinity"].reasons[1].startswith("labels: changed")
    assert found["train-segmenter"].reasons[1].startswith("masks: changed")
    assert {state for step, state in states(out).items() if step not in models} == {"fresh"}
    pipeline.run(data, Recipe(), out, update=True)
    assert stages.worked == updated


def test_what_kept_networks_started_from_may_be_gone(
    stages: FakeSteps, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.run(data, Recipe(), tmp_path / "run")

    def gone(start: object) -> None:
        raise RecipeError("no such model file")

    for kind in (CamModel, SegmenterModel):
        monkeypatch.setitem(START_CHECKS, kind, gone)  # type: ignore[arg-type]
    for listing in ("listing-2", "listing-3"):
        stages.listing = listing
        pipeline.run(data, Recipe(), tmp_path / "run", update=True)
    with pytest.raises(RecipeError, match="no such model file"):
        pipeline.run(data, Recipe(), tmp_path / "run", redo="train-segmenter")


def check_plan(stages: FakeSteps, data: Path, recipe: Recipe, out: Path, **options: Any) -> None:
    """Check that a run does what its dry run says, with the steps whose work is noted."""
    plan = dry_run(data, recipe, out, **options)
    assert plan.refusal is None
    done = [step.step for step in plan.steps if step.action in ("run", "resume", "update")]
    assert all((step.cost is not None) == (step.step in done) for step in plan.steps)
    stages.worked.clear()
    pipeline.run(data, recipe, out, **options)
    assert stages.worked == [step for step in done if step != "prepare"]


@pytest.mark.parametrize("stopped", ["train-cam", "infer-cam", "walk"])
def test_an_update_that_was_stopped_keeps_the_models_when_it_goes_on(
    looked_at: FakeSteps,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: str,
) -> None:
    out, models = tmp_path / "run", {kind.step for kind in MODELS}
    write_tagged_photos(data, 8)
    pipeline.run(data, Recipe(), out)
    write_tagged_photos(data, 10)
    if stopped == "train-cam":
        pipeline.run(data, Recipe(), out, update=True, until="prepare")
    else:
        looked_at.fail_at = stopped
        with pytest.raises(DataError, match="can't be read"):
            pipeline.run(data, Recipe(), out, update=True)
        looked_at.fail_at = None
    refused = dry_run(data, Recipe(), out)
    assert [step.action for step in refused.steps[:2]] == ["skip", "refuse"]
    other = recipe_from({"affinity_labels": {"threshold_from": "fixed"}})
    check_plan(looked_at, data, other, tmp_path / "other", source=out, update=True)
    assert models & {*looked_at.worked} == models - {"train-cam"}, "their inputs are others"

    def gone(start: object) -> None:
        raise RecipeError("no such model file")

    for kind in MODELS:
        monkeypatch.setitem(START_CHECKS, kind, gone)  # type: ignore[arg-type]
    for folder, source in ((tmp_path / "new", out), (out, None)):
        check_plan(looked_at, data, Recipe(), folder, source=source, update=True)
        assert "report" in looked_at.worked and not models & {*looked_at.worked}
        check_plan(looked_at, data, Recipe(), folder, update=True)
        assert not looked_at.worked


@pytest.mark.parametrize("update", [False, True])
def test_models_are_kept_where_a_folder_before_them_is_gone(
    looked_at: FakeSteps, data: Path, tmp_path: Path, update: bool
) -> None:
    out = tmp_path / "run"
    write_tagged_photos(data, 8)
    pipeline.run(data, Recipe(), out)
    if update:
        write_tagged_photos(data, 10)
    shutil.rmtree(out / "infer-cam")
    plan = {step.step: step.action for step in dry_run(data, Recipe(), out, update=update).steps}
    assert plan["infer-cam"] == "run" and {plan[kind.step] for kind in MODELS} == {"skip"}
    looked_at.worked.clear()
    pipeline.run(data, Recipe(), out, update=update)
    assert "infer-cam" in looked_at.worked
    assert not {kind.step for kind in MODELS} & {*looked_at.worked}


@pytest.mark.parametrize(
    ("section", "left_out", "wrong"),
    [
        ("walk", AFFINITY, {"until": "walk"}),
        ("walk", AFFINITY, {"redo": "train-affinity"}),
        ("train_segmenter", NETWORK, {"until": "predict"}),
    ],
)
def test_a_recipe_may_leave_out_the_walk_or_the_segmentation_network(
    stages: FakeSteps,
    data: Path,
    tmp_path: Path,
    section: str,
    left_out: list[str],
    wrong: dict[str, str],
) -> None:
    write_tagged_photos(data, 4)
    out, plain = tmp_path / "run", recipe_from({section: {"enabled": False}})
    short = [step for step in ALL if step not in left_out]
    assert [step.step for step in dry_run(data, plain, out).steps] == short
    assert list(pipeline.run(data, plain, out).handles) == stages.worked == short
    assert states(out) == dict.fromkeys(short, "fresh")
    for refused in (pipeline.run, dry_run):
        with pytest.raises(RunFolderError, match=rf"leaves .* out.*{section}\.enabled"):
            refused(data, plain, out, **wrong)


def test_masks_made_before_the_walk_are_not_those_made_after_it(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    write_tagged_photos(data, 4)
    out, plain = tmp_path / "run", recipe_from({"walk": {"enabled": False}})
    pipeline.run(data, plain, out)
    before = list(stages.worked)
    with pytest.raises(RunFolderError, match=r"walk\.enabled: false -> true.*--redo"):
        pipeline.run(data, Recipe(), out)
    assert stages.worked == before
    planned = {step.step: step for step in dry_run(data, Recipe(), out).steps}
    assert [planned[step].action for step in AFFINITY] == ["run"] * 3
    assert planned["pseudo-masks"].action == "refuse"
    assert {planned[step].action for step in ALL[ALL.index("pseudo-masks") + 1 :]} == {
        "not reached"
    }
    pipeline.run(data, Recipe(), out, redo="pseudo-masks")
    assert stages.worked == [*before, *AFFINITY, "pseudo-masks", *NETWORK, "evaluate", "report"]
    assert states(out) == dict.fromkeys(ALL, "fresh")
    with pytest.raises(RunFolderError, match=r"walk\.enabled: true -> false"):
        pipeline.run(data, plain, out)


def test_changed_data_without_update_is_refused_by_the_model(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    stages.listing = "listing-2"
    stages.prepare(data, Recipe().prepare, out / "prepare", update=True)
    with pytest.raises(RunFolderError, match=r"input data.*--update"):
        pipeline.run(data, Recipe(), out)


def test_skipped_photos_are_listed_once(stages: FakeSteps, data: Path, tmp_path: Path) -> None:
    stages.skipped = ("a: cut off", "b: cut off")
    assert pipeline.run(data, Recipe(), tmp_path / "run").skipped == stages.skipped
    assert pipeline.run(data, Recipe(), tmp_path / "run").skipped == stages.skipped


def test_impossible_folders_and_steps_are_named(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no such data folder"):
        pipeline.run(tmp_path / "nowhere", Recipe(), tmp_path / "run")
    with pytest.raises(RunFolderError, match="inside the data folder"):
        pipeline.run(data, Recipe(), data / "run")
    with pytest.raises(RunFolderError, match="did you mean 'train-cam'"):
        pipeline.run(data, Recipe(), tmp_path / "run", until="train_cam")
    with pytest.raises(RunFolderError, match="no step"):
        pipeline.run(data, Recipe(), tmp_path / "run", redo="everything")
    assert not (tmp_path / "run").exists()
    assert stages.worked == []


def test_other_ranks_stop_where_the_first_one_failed(
    stages: FakeSteps, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SecondRank(OneRank):
        rank = 1

        def all_gather_object(self, value: Any) -> list[Any]:
            return [True, value]

    monkeypatch.setattr(pipeline, "start_runtime", lambda settings: SecondRank())
    with pytest.raises(Tag2MaskError, match="first process stopped"):
        pipeline.run(data, Recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_status_needs_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run folder"):
        status(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match="not a run folder"):
        status(tmp_path)


def test_status_follows_staleness_downstream(stages: FakeSteps, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    text = (out / "recipe.yaml").read_text().replace("epochs: 5", "epochs: 6")
    (out / "recipe.yaml").write_text(text)
    found = {state.step: state.folder for state in status(out)}
    assert found["prepare"].state == "fresh"
    assert found["train-cam"].reasons == ("train_cam.epochs: 5 -> 6",)
    assert "train-cam is stale" in found["report"].reasons


def write_tagged_photos(folder: Path, count: int) -> None:
    from PIL import Image

    rows = ["image,tags,split"]
    for index in range(count):
        Image.new("RGB", (8, 8)).save(folder / f"{index}.png")
        rows.append(f"{index}.png,cat,{'val' if index % 4 == 0 else 'train'}")
    (folder / "tags.csv").write_text("\n".join(rows) + "\n")


def test_a_dry_run_plans_and_writes_nothing(stages: FakeSteps, data: Path, tmp_path: Path) -> None:
    write_tagged_photos(data, 8)
    out = tmp_path / "run"
    plan = dry_run(data, Recipe(), out)
    assert (plan.train, plan.val) == (6, 2)
    assert [(step.step, step.action) for step in plan.steps] == [(name, "run") for name in ALL]
    assert all(step.cost is not None and step.cost.seconds > 0 for step in plan.steps)
    assert not out.exists()
    assert stages.downloads and not any(stages.downloads), "no weights"
    stages.downloads.clear()
    stages.fail_at = "infer-cam"
    with pytest.raises(DataError, match="can't be read"):
        pipeline.run(data, Recipe(), out)
    assert stages.downloads and all(stages.downloads)
    plan = dry_run(data, Recipe(), out, until="infer-cam")
    assert [step.action for step in plan.steps] == ["skip", "skip", "resume"]
    other = recipe_from({"train_cam": {"epochs": 9}})
    planned = {step.step: step for step in dry_run(data, other, out).steps}
    assert planned["train-cam"].action == "refuse"
    assert planned["train-cam"].why == ("train_cam.epochs: 5 -> 9",)
    assert {planned[step].action for step in ALL[2:]} == {"not reached"}
    with pytest.raises(DataError, match="infer-cam comes after train-cam"):
        dry_run(data, Recipe(), out, until="train-cam", redo="infer-cam")
    again = dry_run(data, other, out, redo="train-cam", until="infer-cam")
    assert [step.action for step in again.steps] == ["skip", "run", "run"]
    stages.listing = "listing-2"
    stages.prepare(data, Recipe().prepare, out / "prepare", update=True)
    actions = {
        update: dry_run(data, Recipe(), out, until="train-cam", update=update).steps[1].action
        for update in (False, True)
    }
    assert actions == {False: "refuse", True: "skip"}


def test_a_dry_run_reports_the_error_and_the_fix(
    stages: FakeSteps, data: Path, tmp_path: Path
) -> None:
    write_tagged_photos(data, 8)
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    other = recipe_from(
        {"infer_cam": {"flip": False}, "pseudo_masks": {"background_threshold": 0.5}}
    )
    plan = dry_run(data, other, out)
    assert [step.action for step in plan.steps] == [
        "skip",
        "skip",
        "refuse",
        *["not reached"] * len(ALL[3:]),
    ]
    assert all(step.cost is None for step in plan.steps)
    assert isinstance(plan.refusal, RunFolderError)
    with pytest.raises(RunFolderError) as caught:
        pipeline.run(data, other, out)
    assert plan.refusal.what == caught.value.what
    assert "`--redo infer-cam`" in str(plan.refusal)
    stages.listing = "listing-2"
    stages.prepare(data, Recipe().prepare, out / "prepare", update=True)
    plan = dry_run(data, Recipe(), out)
    assert [step.action for step in plan.steps] == [
        "skip",
        "refuse",
        *["not reached"] * len(ALL[2:]),
    ]
    assert "--update" in str(plan.refusal)


def test_a_dry_run_looks_at_the_photos_sizes(data: Path, tmp_path: Path) -> None:
    from PIL import Image

    costs = []
    for side in (100, 3000):
        write_tagged_photos(data, 4)
        for index in (1, 2):
            Image.new("1", (side, side)).save(data / f"{index}.png")
        (data / "3.png").write_bytes(b"no photo")  # the step's to find
        plan = dry_run(data, Recipe(), tmp_path / "run")
        costs.append({step.step: step.cost for step in plan.steps})
    small, large = costs
    for step in ("affinity-labels", "walk", "pseudo-masks", "predict", "evaluate"):
        assert large[step].seconds > 1.05 * small[step].seconds
    assert large["affinity-labels"].memory_mib > small["affinity-labels"].memory_mib + 1000
    assert large["train-cam"] == small["train-cam"]


@pytest.fixture
def looked_at(stages: FakeSteps, monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    """Stages of which ``prepare`` is the real one."""
    monkeypatch.setattr(sys.modules["tag2mask.steps.prepare"], "prepare", prepare.prepare)
    return stages


def test_a_dry_run_sees_that_the_data_changed(
    looked_at: FakeSteps, data: Path, tmp_path: Path
) -> None:
    write_tagged_photos(data, 8)
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    plan = dry_run(data, Recipe(), out)
    assert plan.refusal is None and {step.action for step in plan.steps} == {"skip"}
    write_tagged_photos(data, 9)
    plan = dry_run(data, Recipe(), out)
    with pytest.raises(DataChangedError, match=r"1 photo added.*--update") as caught:
        pipeline.run(data, Recipe(), out)
    assert str(plan.refusal) == str(caught.value)
    assert plan.steps[0].action == "refuse" and "1 photo added" in plan.steps[0].why[0]
    assert {step.action for step in plan.steps[1:]} == {"not reached"}
    assert all(step.cost is None for step in plan.steps)
    before = (out / "prepare" / "manifest.json").read_bytes()
    plan = dry_run(data, Recipe(), out, update=True)
    assert (out / "prepare" / "manifest.json").read_bytes() == before
    assert plan.refusal is None and "1 photo added" in plan.steps[0].why
    looked_at.worked.clear()
    pipeline.run(data, Recipe(), out, update=True)
    assert [step.step for step in plan.steps if step.action == "update"] == [
        "prepare",
        *looked_at.worked,
    ]
    plan = dry_run(data, Recipe(), out, update=True)
    assert {step.action for step in plan.steps} == {"skip"}


def test_a_dry_run_sees_masks_that_came_later(
    looked_at: FakeSteps, data: Path, tmp_path: Path
) -> None:
    from PIL import Image

    write_tagged_photos(data, 8)
    out = tmp_path / "run"
    pipeline.run(data, Recipe(), out)
    (data / "masks").mkdir()
    Image.new("P", (8, 8)).save(data / "masks" / "1.png")
    plan = dry_run(data, Recipe(), out)
    assert [step.step for step in plan.steps if step.action == "update"] == [
        "prepare",
        "evaluate",
        "report",
    ]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("0.png,cet,val", "unknown tag 'cet'"),
        ("77.png,cat,train", "'77' does not exist"),
        ("1.png,cat,test", "photo '1' has split"),
    ],
)
def test_a_dry_run_reports_data_with_errors_as_the_run_does(
    looked_at: FakeSteps, data: Path, tmp_path: Path, begun: bool, line: str, wrong: str
) -> None:
    write_tagged_photos(data, 8)
    (data / "classes.txt").write_text("cat\n")
    out = tmp_path / "run"
    if begun:
        pipeline.run(data, Recipe(), out)
    with (data / "tags.csv").open("a") as table:
        table.write(f"{line}\n")
    plan = dry_run(data, Recipe(), out)
    with pytest.raises(ProblemsError, match=wrong) as caught:
        pipeline.run(data, Recipe(), out)
    assert str(plan.refusal) == str(caught.value)
    assert [step.action for step in plan.steps] == ["refuse", *["not reached"] * len(ALL[1:])]
    skipping = recipe_from({"prepare": {"skip_bad": True}})
    assert (dry_run(data, skipping, out, update=True).refusal is None) == ("77" in line)


def test_estimates_grow_with_the_work(data: Path) -> None:
    from tag2mask.pipeline.estimates import estimate

    small = estimate(Recipe(), train=100, val=10, gpu=False)
    large = estimate(Recipe(), train=1000, val=100, gpu=False)
    heavy = estimate(
        recipe_from({"train_cam": {"backbone": {"name": "resnet38", "output_stride": 8}}}),
        train=100,
        val=10,
        gpu=False,
    )
    assert list(small) == ALL
    assert all(large[step].seconds >= small[step].seconds for step in ALL)
    assert large["infer-cam"].disk_mib > 9 * small["infer-cam"].disk_mib
    assert heavy["train-cam"].seconds > 20 * small["train-cam"].seconds
    # Memory doesn't depend on the number of photos, but for the list of them.
    assert large["train-cam"].memory_mib == small["train-cam"].memory_mib
    assert large["infer-cam"].memory_mib == small["infer-cam"].memory_mib


def test_demo_is_two_ordinary_runs(
    stages: FakeSteps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: Path, *, seed: int) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    module = ModuleType("tag2mask.data.demo.scenes")
    module.make_demo_data = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names: list[str] = []

    def load(name: str) -> Recipe:
        names.append(name)
        return recipe_from({"name": name})

    monkeypatch.setattr(pipeline, "load_recipe", load)
    results = pipeline.demo(tmp_path / "demo")
    assert names == ["demo-cam-baseline", "demo-seam"]
    assert results["SEAM"].path == tmp_path / "demo"
    assert results["CAM baseline"].path == tmp_path / "demo" / "cam-baseline"
    assert stages.worked == ALL + ALL


def test_the_pipeline_imports_no_torch() -> None:
    code = "import sys, tag2mask.pipeline.run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
