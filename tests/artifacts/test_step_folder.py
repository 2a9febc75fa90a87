"""Step folders: new, partial, complete or of something else, and never mixed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tag2mask.artifacts import step_folder as artifacts
from tag2mask.artifacts.deletion import recorded_seconds, remove_step_folder
from tag2mask.artifacts.handles import CamMaps, CamModel, PreparedData
from tag2mask.artifacts.identity import folder_status
from tag2mask.artifacts.manifest import ReadMetrics, read_identity
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import RunFolderError
from tag2mask.files import json_file, lock
from tag2mask.files.regular_file import read_regular
from tag2mask.recipe.fields import Section
from tag2mask.recipe.sections import InferCam, Prepare
from tag2mask.recipe.training import TrainCam

pytestmark = pytest.mark.smoke


def make_prepared(out: Path, listing: str = "listing-1", **section: Any) -> PreparedData:
    with step_folder(
        PreparedData, out, section=Prepare(**section), inputs={"data": listing}
    ) as step:
        return step.handle if step.complete else step.finish(counts={"train": 3})


def make_maps(out: Path, data: PreparedData, model: str = "model-1", **section: Any) -> CamMaps:
    with step_folder(
        CamMaps, out, section=InferCam(**section), inputs={"model": model}, coverage={"data": data}
    ) as step:
        return step.handle if step.complete else step.finish()


def test_a_finished_folder_is_complete_and_records_its_inputs(tmp_path: Path) -> None:
    section = TrainCam(epochs=3)
    data = make_prepared(tmp_path / "prepare")
    with step_folder(
        CamModel, tmp_path / "train-cam", section=section, inputs={"data": data}
    ) as step:
        assert not step.complete
        assert not step.resumed
        assert not (step.path / "manifest.json").exists()
        (step.path / "model.safetensors").touch()
        step.finish(counts={"steps": 5}, metrics={"loss": float("nan")}, skipped=["a: unreadable"])
    manifest = CamModel.open(tmp_path / "train-cam").manifest
    assert manifest.step == "train-cam"
    assert manifest.section["epochs"] == 3
    assert manifest.inputs["data"].path == "../prepare"
    assert manifest.inputs["data"].fingerprint == data.fingerprint
    assert manifest.counts == {"steps": 5}
    assert manifest.metrics == {"loss": None}
    assert manifest.skipped == ("a: unreadable",)
    assert manifest.versions["python"]
    assert not (tmp_path / "train-cam" / "started.json").exists()
    with step_folder(
        CamModel, tmp_path / "train-cam", section=section, inputs={"data": data}
    ) as again:
        assert again.complete


def test_other_settings_and_inputs_are_refused_each_named(tmp_path: Path) -> None:
    data = make_prepared(tmp_path / "prepare")
    make_maps(tmp_path / "maps", data)
    before = (tmp_path / "maps" / "manifest.json").read_bytes()
    with pytest.raises(RunFolderError) as caught:
        make_maps(tmp_path / "maps", data, model="model-2", scales=(1.0,), flip=False)
    message = str(caught.value)
    assert f"infer_cam.scales: {list(InferCam().scales)} -> [1.0]" in message
    assert "infer_cam.flip: true -> false" in message
    assert "input model: model-1 -> model-2" in message
    assert "--out" in message
    assert "--redo infer-cam" in message
    assert "delete" in message
    assert (tmp_path / "maps" / "manifest.json").read_bytes() == before


class _InnerLater(Section):
    pool: str = "avg"


class _Before(Section):
    epochs: int = 1


class _Later(Section):
    """As `_Before`, with keys of a later version."""

    added_keys = {"inner.pool": "avg", "options": {}}  # noqa: RUF012

    epochs: int = 1
    inner: _InnerLater = _InnerLater()
    options: dict[str, int] = {}  # noqa: RUF012


class _Without(Section):
    """As `_Later`, of a version without its keys."""

    removed_keys = {"inner.pool": "avg", "options": {}}  # noqa: RUF012

    epochs: int = 1


def made_with(out: Path, section: Section) -> bool:
    """Return whether a finished folder of these settings was there already."""
    with step_folder(PreparedData, out, section=section) as step:
        if not step.complete:
            step.finish()
        return step.complete


def test_a_key_of_a_later_version_with_the_earlier_meaning_keeps_folders(tmp_path: Path) -> None:
    assert not made_with(tmp_path / "earlier", _Before())
    assert made_with(tmp_path / "earlier", _Later())
    assert folder_status(PreparedData, tmp_path / "earlier", _Later()).state == "fresh"
    other = _Later(inner=_InnerLater(pool="max"), options={"top": 3})
    with pytest.raises(RunFolderError) as caught:
        made_with(tmp_path / "earlier", other)
    assert 'prepare.inner.pool: (absent) -> "max"' in str(caught.value)
    assert "prepare.options.top: (absent) -> 3" in str(caught.value)
    assert not made_with(tmp_path / "later", other)
    assert made_with(tmp_path / "later", other)
    with pytest.raises(RunFolderError, match=r'prepare\.inner\.pool: "max" -> \(absent\)'):
        made_with(tmp_path / "later", _Later())


def test_a_key_that_was_removed_and_changed_nothing_keeps_folders(tmp_path: Path) -> None:
    assert not made_with(tmp_path / "earlier", _Later())
    assert made_with(tmp_path / "earlier", _Without())
    assert not made_with(tmp_path / "other", _Later(options={"top": 3}))
    with pytest.raises(RunFolderError, match=r"prepare\.options\.top: 3 -> \(absent\)"):
        made_with(tmp_path / "other", _Without())


def test_a_partial_folder_refuses_other_settings_too(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=1)) as step,
    ):
        (step.path / "checkpoint").touch()
        raise KeyboardInterrupt
    with (
        pytest.raises(RunFolderError, match=r"train_cam\.epochs: 1 -> 2"),
        step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=2)),
    ):
        pass
    assert folder_status(CamModel, tmp_path / "m", TrainCam(epochs=2)).state == "partial"


def test_a_folder_without_work_accepts_other_settings(tmp_path: Path) -> None:
    with (
        pytest.raises(RunFolderError, match="refused"),
        step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=1)),
    ):
        raise RunFolderError("refused", where=tmp_path, fix="Give another model.")
    assert folder_status(CamModel, tmp_path / "m", TrainCam(epochs=1)).state == "partial"
    assert folder_status(CamModel, tmp_path / "m", TrainCam(epochs=2)).state == "missing"
    with (
        pytest.MonkeyPatch.context() as patched,
        pytest.raises(RunFolderError, match=r"train_cam\.epochs: 1 -> 2"),
    ):
        patched.setattr(artifacts.sys, "platform", "win32")  # somebody may be at work there
        with step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=2)):
            pass
    with step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=2)) as step:
        assert not step.resumed
        with step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=2), rank=1) as other:
            assert other.path == step.path
            other.finish()
        (step.path / "model.safetensors").touch()
        step.finish()
    assert CamModel.open(tmp_path / "m").manifest.section["epochs"] == 2


def test_a_folder_that_another_process_fills_meanwhile_is_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(RunFolderError, match="refused"),
        step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=1)),
    ):
        raise RunFolderError("refused", where=tmp_path, fix="Give another model.")
    make_folder = lock.make_folder

    def filled(folder: Path) -> None:
        make_folder(folder)
        (folder / "checkpoint").touch()

    monkeypatch.setattr(lock, "make_folder", filled)
    before = (tmp_path / "m" / "started.json").read_bytes()
    with (
        pytest.raises(RunFolderError, match="another process has worked in this folder"),
        step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=2)),
    ):
        pass
    assert (tmp_path / "m" / "started.json").read_bytes() == before


def test_nested_keys_are_named_in_full(tmp_path: Path) -> None:
    with step_folder(CamModel, tmp_path / "m", section=TrainCam()) as step:
        step.finish()
    other = TrainCam.model_validate({"losses": {"er": 0.0}})
    with (
        pytest.raises(RunFolderError, match=r"train_cam\.losses\.er: 0\.1 -> 0\.0"),
        step_folder(CamModel, tmp_path / "m", section=other),
    ):
        pass


def test_settings_of_an_earlier_version_are_named_once(tmp_path: Path) -> None:
    section = TrainCam().model_dump(mode="json")
    for new, old in (("optimizer", "optimiser"), ("behavior", "behaviour")):
        section[old] = section.pop(new)
    with step_folder(CamModel, tmp_path / "m", section=section) as step:
        (step.path / "model.safetensors").touch()
        step.finish()
    message = (
        r"train-cam was written by an earlier version of tag2mask: "
        r"train_cam\.optimiser is now called train_cam\.optimizer, "
        r"train_cam\.behaviour is now called train_cam\.behavior \["
    )
    with pytest.raises(RunFolderError, match=message):
        folder_status(CamModel, tmp_path / "m", TrainCam())
    with (
        pytest.raises(RunFolderError, match=message),
        step_folder(CamModel, tmp_path / "m", section=TrainCam()),
    ):
        pass


def test_keys_that_do_not_change_the_result_may_change(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="stop"),
        step_folder(CamMaps, tmp_path / "m", section=InferCam()),
    ):
        raise ValueError("stop")
    with step_folder(CamMaps, tmp_path / "m", section=InferCam(skip_bad=True)) as step:
        assert step.resumed
        step.finish()
    assert folder_status(CamMaps, tmp_path / "m", InferCam()).state == "fresh"


def test_changed_coverage_reopens_a_complete_folder(tmp_path: Path) -> None:
    data = make_prepared(tmp_path / "prepare")
    with step_folder(
        CamMaps,
        tmp_path / "maps",
        section=InferCam(),
        inputs={"model": "m"},
        coverage={"data": data},
    ) as step:
        step.journal.record("a", "stamp-1")
        step.finish()
    remove_step_folder(PreparedData, tmp_path / "prepare")
    data = make_prepared(tmp_path / "prepare", "listing-2")
    # What the data's own settings were is an input all the same; its listing is an input of
    # prepare here, so the maps refuse.
    with pytest.raises(RunFolderError, match="data settings"):
        make_maps(tmp_path / "maps", data, model="m")


def prepared_with_coverage(out: Path, listing: str) -> PreparedData:
    with step_folder(PreparedData, out, section=Prepare(), coverage={"photos": listing}) as step:
        return step.handle if step.complete else step.finish()


def test_added_photos_keep_the_items_of_the_others(tmp_path: Path) -> None:
    data = prepared_with_coverage(tmp_path / "prepare", "listing-1")
    with step_folder(
        CamMaps,
        tmp_path / "maps",
        section=InferCam(),
        inputs={"model": "m"},
        coverage={"data": data},
    ) as step:
        step.journal.record("a", "stamp-1")
        first = step.finish().fingerprint
    data = prepared_with_coverage(tmp_path / "prepare", "listing-2")
    assert folder_status(CamMaps, tmp_path / "maps").state == "stale"
    with step_folder(
        CamMaps,
        tmp_path / "maps",
        section=InferCam(),
        inputs={"model": "m"},
        coverage={"data": data},
    ) as step:
        assert not step.complete
        assert step.journal.key("a") == "stamp-1"
        assert step.journal.key("b") is None
        with pytest.raises(RunFolderError, match="unfinished"):
            CamMaps.open(tmp_path / "maps")
        assert step.finish().fingerprint != first


def test_open_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no train-cam folder"):
        CamModel.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="not a train-cam folder"):
        CamModel.open(tmp_path / "empty")
    make_prepared(tmp_path / "prepare")
    with pytest.raises(RunFolderError, match="holds prepare, not train-cam"):
        CamModel.open(tmp_path / "prepare")
    with (
        pytest.raises(ValueError, match="stop"),
        step_folder(CamModel, tmp_path / "part", section=TrainCam()),
    ):
        raise ValueError("stop")
    with pytest.raises(RunFolderError, match="unfinished"):
        CamModel.open(tmp_path / "part")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"step": "prepare"}', "\x00\x01"])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"manifest\.json"):
        PreparedData.open(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", 5),
        ("classes", [1, 2]),
        ("classes", {"a": 1}),
        ("warnings", 7),
        ("understood", "text"),
        ("background_threshold", "0.5"),
        ("class_thresholds", [0.5]),
        ("without_sure_pixels", [None]),
    ],
)
def test_metrics_of_another_type_are_a_damaged_manifest(
    tmp_path: Path, key: str, value: object
) -> None:
    make_prepared(tmp_path)
    values = json.loads((tmp_path / "manifest.json").read_text())
    for metrics in ({"own": value}, {key: value}):
        (tmp_path / "manifest.json").write_text(json.dumps(values | {"metrics": metrics}))
        if "own" in metrics:
            assert PreparedData.open(tmp_path).metric("own") == value
    with pytest.raises(RunFolderError, match=rf"not a manifest\.json of tag2mask \(metrics\.{key}"):
        PreparedData.open(tmp_path)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"classes": 3}, r"classes: Input should be a valid list\)"),
        ({"warnings": "one"}, r"warnings: Input should be a valid list\)"),
        ({"classes": ["a", 1]}, r"classes\.1: Input should be a valid string\)"),
        ({"alpha": float("nan")}, "alpha: Input should be a valid number"),  # null in the file
        ({"own": np.float32(1)}, "own: Unable to serialize unknown type: <class 'numpy.float32'>"),
    ],
)
def test_a_metric_that_could_not_be_read_again_is_refused(
    tmp_path: Path, metrics: dict[str, object], message: str
) -> None:
    with (
        pytest.raises(RunFolderError, match=rf"{message}.*another name or value.*parts\.md"),
        step_folder(CamMaps, tmp_path / "a", section={"made": "elsewhere"}) as step,
    ):
        step.journal.record("a", "key")
        step.finish(metrics=metrics)
    with step_folder(CamMaps, tmp_path / "a", section={"made": "elsewhere"}) as step:
        assert step.resumed and step.journal.key("a") == "key"
        step.finish(metrics={"classes": ("a", "b"), "own": (3, float("inf"))})
    assert CamMaps.open(tmp_path / "a").manifest.metrics == {
        "classes": ["a", "b"],
        "own": [3, None],
    }


def test_the_metrics_of_a_fixed_type_are_documented() -> None:
    page = Path(__file__).parents[2] / "docs/how-to/parts.md"
    listed = page.read_text().partition("## Maps made elsewhere")[2].partition("\n## ")[0]
    names = set(re.findall(r"`(\w+)`", listed.partition("fixed type")[2]))
    assert names == set(ReadMetrics.model_fields)


def test_a_metric_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"lacks 'classes'.*run the step again"):
        make_prepared(tmp_path).metric("classes")


def test_a_folder_with_other_files_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RunFolderError, match="other files"):
        make_prepared(tmp_path)
    with pytest.raises(RunFolderError, match="other files"):
        remove_step_folder(PreparedData, tmp_path)
    assert (tmp_path / "holiday.jpg").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="a file is in the place of the folder"):
        make_prepared(tmp_path / "file")


def test_another_steps_folder_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    make_prepared(tmp_path / "p")
    with (
        pytest.raises(RunFolderError, match="holds prepare, not train-cam"),
        step_folder(CamModel, tmp_path / "p", section=TrainCam()),
    ):
        pass
    with pytest.raises(RunFolderError, match="not deleted"):
        remove_step_folder(CamModel, tmp_path / "p")
    remove_step_folder(PreparedData, tmp_path / "p")
    assert not (tmp_path / "p").exists()
    remove_step_folder(PreparedData, tmp_path / "p")


def test_what_a_deletion_loses(tmp_path: Path) -> None:
    folders = [(PreparedData, tmp_path / "p"), (CamMaps, tmp_path / "m")]
    assert recorded_seconds(folders) == {}
    with (
        pytest.raises(ValueError, match="stop"),
        step_folder(CamMaps, tmp_path / "m", section=InferCam()),
    ):
        raise ValueError("stop")
    record = tmp_path / "m" / "started.json"
    record.write_text(record.read_text().replace('"seconds": 0.', '"seconds": 90.'))
    make_prepared(tmp_path / "p")
    found = recorded_seconds(folders)
    assert list(found) == ["prepare", "infer-cam"] and 90 <= found["infer-cam"] < 91
    with pytest.raises(RunFolderError, match="holds prepare, not infer-cam; not deleted"):
        recorded_seconds([(CamMaps, tmp_path / "p")])


def test_states_are_missing_partial_fresh_and_stale(tmp_path: Path) -> None:
    out = tmp_path / "prepare"
    assert folder_status(PreparedData, out).state == "missing"
    with (
        pytest.raises(ValueError, match="stop"),
        step_folder(PreparedData, out, section=Prepare(), inputs={"data": "listing-1"}),
    ):
        raise ValueError("stop")
    assert folder_status(PreparedData, out).state == "partial"
    data = make_prepared(out)
    make_maps(tmp_path / "maps", data)
    status = folder_status(CamMaps, tmp_path / "maps", InferCam())
    assert status.state == "fresh"
    assert set(status.reads) == {"model", "data"}
    changed = folder_status(CamMaps, tmp_path / "maps", InferCam(flip=False))
    assert changed.state == "stale"
    assert changed.reasons == ("infer_cam.flip: true -> false",)
    remove_step_folder(PreparedData, out)
    assert folder_status(CamMaps, tmp_path / "maps").reasons == ("data: missing now",)


def test_a_moved_run_stays_fresh(tmp_path: Path) -> None:
    data = make_prepared(tmp_path / "run" / "prepare")
    make_maps(tmp_path / "run" / "infer-cam", data)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert folder_status(CamMaps, moved / "infer-cam", InferCam()).state == "fresh"
    assert make_maps(moved / "infer-cam", PreparedData.open(moved / "prepare")).manifest


def test_only_rank_zero_writes_and_each_rank_has_its_journal(tmp_path: Path) -> None:
    with step_folder(CamMaps, tmp_path, section=InferCam()) as first:
        with step_folder(CamMaps, tmp_path, section=InferCam(), rank=1) as second:
            first.journal.record("a", "1")
            second.journal.record("b", "2")
            second.finish()
        assert not (tmp_path / "manifest.json").exists()
        first.finish()
    assert {path.name for path in tmp_path.glob("*.jsonl")} == {"items.jsonl", "items.rank1.jsonl"}
    with step_folder(CamMaps, tmp_path, section=InferCam()) as step:
        assert step.complete
        assert (step.journal.key("a"), step.journal.key("b")) == ("1", "2")


def test_other_ranks_wait_for_rank_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "RANK_ZERO_SECONDS", 0.2)
    with (
        pytest.raises(RunFolderError, match="first process did not open"),
        step_folder(CamMaps, tmp_path / "m", section=InferCam(), rank=1),
    ):
        pass
    assert not (tmp_path / "m").exists()


def test_a_full_disk_within_a_step_leaves_it_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        with step_folder(CamMaps, tmp_path / "m", section=InferCam()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunFolderError, match="disk is full"):
        fail()
    with step_folder(CamMaps, tmp_path / "m", section=InferCam()) as step:
        assert step.resumed
        step.finish()


def test_errors_about_files_elsewhere_keep_their_name(tmp_path: Path) -> None:
    def fail() -> None:
        with step_folder(CamMaps, tmp_path / "m", section=InferCam()):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "photo.jpg"))

    with pytest.raises(PermissionError, match=r"photo\.jpg"):
        fail()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunFolderError, match="no permission"):
            make_prepared(tmp_path / "prepare")
    finally:
        tmp_path.chmod(0o700)


def test_a_killed_step_is_resumed_and_a_working_one_is_locked(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from tag2mask.artifacts.handles import CamMaps
        from tag2mask.artifacts.step_folder import step_folder
        from tag2mask.recipe.sections import InferCam
        with step_folder(CamMaps, sys.argv[1], section=InferCam()) as step:
            step.journal.record("a", "1")
            print("at work", flush=True)
            time.sleep(600)
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "maps")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        try:
            with (
                pytest.raises(RunFolderError, match="another process"),
                step_folder(CamMaps, tmp_path / "maps", section=InferCam()),
            ):
                pass
        finally:
            process.send_signal(signal.SIGKILL)
    time.sleep(0.05)
    with step_folder(CamMaps, tmp_path / "maps", section=InferCam()) as step:
        assert step.resumed
        assert step.journal.key("a") == "1"
        (tmp_path / "maps" / ".tmp-left-behind.npz").write_bytes(b"x")
        step.finish()
    assert not list((tmp_path / "maps").glob(".tmp-*"))


def test_a_step_must_finish_or_raise(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="neither finished nor raised"),
        step_folder(CamMaps, tmp_path / "m", section=InferCam()),
    ):
        pass


def test_a_folder_of_your_own_maps(tmp_path: Path) -> None:
    with step_folder(CamMaps, tmp_path / "mine", section={"made by": "my network"}) as step:
        step.finish(counts={"maps": 1})
    assert CamMaps.open(tmp_path / "mine").manifest.section == {"made by": "my network"}


def test_a_record_that_another_rank_writes_meanwhile_is_found_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written_after(path: Path) -> bytes:
        try:
            return read_regular(path)
        except FileNotFoundError:
            path.write_text("{}")
            raise

    monkeypatch.setattr(json_file, "read_regular", written_after)
    assert read_identity(tmp_path) is None
    with pytest.raises(RunFolderError, match=r"not a manifest\.json"):
        read_identity(tmp_path)


def test_an_interrupted_deletion_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with step_folder(CamModel, tmp_path / "m", section=TrainCam()) as step:
        (step.path / "pictures").mkdir()
        (step.path / "model.safetensors").touch()
        step.finish()

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", interrupted)
        remove_step_folder(CamModel, tmp_path / "m")
    assert folder_status(CamModel, tmp_path / "m", TrainCam()).state == "missing"
    with step_folder(CamModel, tmp_path / "m", section=TrainCam(epochs=2)) as step:
        assert not step.resumed and not (step.path / "pictures").exists()
        (step.path / "model.safetensors").touch()
        step.finish()


def test_a_lost_manifest_is_explained(tmp_path: Path) -> None:
    data = make_prepared(tmp_path / "prepare")
    maps = make_maps(tmp_path / "maps", data)
    (maps.path / "items.jsonl").touch()
    (maps.path / "manifest.json").unlink()
    with pytest.raises(RunFolderError, match=r"manifest\.json was lost, delete the folder"):
        make_maps(maps.path, data)
    with pytest.raises(RunFolderError, match=r"was lost, delete .* run `tag2mask infer-cam` again"):
        CamMaps.open(maps.path)
    (maps.path / "items.jsonl").unlink()
    assert make_maps(maps.path, data).manifest
