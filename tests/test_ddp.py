"""Two processes on the CPU (gloo) equal one process with the same batch, and stop together.

Dropout is off, since each process draws its own; all other random numbers are the same.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_runs import call, cut_off, write_photos, write_recipe
from tag2mask.artifacts.handles import CamMaps, CamModel
from tag2mask.data.index import read_index
from tag2mask.maps.cam_map import read_map

pytestmark = pytest.mark.slow

CHANGES: dict[str, Any] = {
    "train_cam__dropout": 0.0,
    "train_cam__batch_size": 5,
    "train_cam__epochs": 3,
    "train_cam__warm_start": 1,
    "train_cam__optimizer": {"name": "sgd", "lr": 0.01, "accumulate": 2},
    "infer_cam__map_dtype": "float16",
}


def run(tmp_path: Path, devices: int, *options: str, **changes: Any) -> Any:
    settings = write_recipe(tmp_path / "recipe.yaml", **CHANGES, **changes)
    return call(
        "run",
        "--data",
        tmp_path / "photos",
        "--recipe",
        settings,
        "--out",
        tmp_path / f"on{devices}",
        "--until",
        "infer-cam",
        *options,
        "--set",
        f"runtime.devices={devices}",
        timeout=900,
    )


def losses(folder: Path) -> np.ndarray:
    with (folder / "train-cam" / "losses.csv").open(newline="") as file:
        rows = [
            {k: v for k, v in row.items() if k != "photos_per_second"}
            for row in csv.DictReader(file)
        ]
    return np.array([[float(value) for value in row.values()] for row in rows])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, Any]]:
    """The same run on one process and on two, with batches that two can't halve."""
    root = tmp_path_factory.mktemp("ddp")
    write_photos(root / "photos", 15)
    return root, {devices: run(root, devices) for devices in (1, 2)}


def test_both_finish_and_say_nothing_else(finished: tuple[Path, dict[int, Any]]) -> None:
    _, results = finished
    for devices, result in results.items():
        assert result.returncode == 0, (devices, result.stderr)
        assert all(
            line.startswith(("train-cam", "infer-cam:")) for line in result.stderr.splitlines()
        ), result.stderr
    assert results[1].stdout.replace("on1", "on2") == results[2].stdout


def test_losses_equal_those_of_one_process(finished: tuple[Path, dict[int, Any]]) -> None:
    root, _ = finished
    one, two = losses(root / "on1"), losses(root / "on2")
    assert one.shape == two.shape
    assert len(one) == 3
    assert np.isfinite(one).all()
    assert (one[:, 1:].std(axis=0) > 1e-4).any()
    np.testing.assert_allclose(two, one, atol=1e-5, rtol=1e-5)


def test_weights_equal_those_of_one_process(finished: tuple[Path, dict[int, Any]]) -> None:
    from safetensors.torch import load_file

    root, _ = finished
    one, two = (
        load_file(root / name / "train-cam" / "model.safetensors") for name in ("on1", "on2")
    )
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        np.testing.assert_allclose(two[name], tensor, atol=1e-5, err_msg=name)


def test_maps_equal_those_of_one_process(finished: tuple[Path, dict[int, Any]]) -> None:
    root, _ = finished
    folders = [CamMaps.open(root / name / "infer-cam") for name in ("on1", "on2")]
    counts = [folder.manifest.counts for folder in folders]
    assert counts == [{"photos": 15, "computed": 15}] * 2
    for split in ("train", "val"):
        for sample in read_index(root / "on1" / "prepare", split):
            one, two = (read_map(f.path / "maps" / f"{sample.id}.npz") for f in folders)
            assert one.tags == two.tags
            np.testing.assert_allclose(two.scores, one.scores, atol=5e-3)
            np.testing.assert_allclose(two.probabilities, one.probabilities, atol=1e-5)


def test_affinities_and_walks_equal_those_of_one_process(
    finished: tuple[Path, dict[int, Any]],
) -> None:
    from safetensors.torch import load_file

    root, _ = finished
    settings = write_recipe(
        root / "affinity.yaml",
        train_affinity__batch_size=5,
        train_affinity__epochs=2,
        train_affinity__optimizer={"name": "sgd", "lr": 0.01},
    )
    data, cams = root / "on1" / "prepare", root / "on1" / "infer-cam"

    def step(name: str, devices: int, *reads: str | Path) -> Path:
        out = root / f"{name}-on{devices}"
        result = call(
            name,
            "--data",
            data,
            *reads,
            "--recipe",
            settings,
            "--out",
            out,
            "--set",
            f"runtime.devices={devices}",
        )
        assert result.returncode == 0, result.stderr
        return out

    labels = [step("affinity-labels", devices, "--maps", cams) for devices in (1, 2)]
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}
        for folder in labels
    ]
    assert files[0] == files[1] and len(files[0]) == 12
    models = [step("train-affinity", devices, "--labels", labels[0]) for devices in (1, 2)]
    one, two = (load_file(folder / "model.safetensors") for folder in models)
    for name, tensor in one.items():
        np.testing.assert_allclose(two[name], tensor, atol=1e-5, err_msg=name)
    walked = [step("walk", devices, "--maps", cams, "--model", models[0]) for devices in (1, 2)]
    for path in (walked[0] / "maps").rglob("*.npz"):
        other = read_map(walked[1] / path.relative_to(walked[0]))
        np.testing.assert_allclose(other.scores, read_map(path).scores, atol=5e-3)


def test_an_error_stops_both_processes_and_both_skip_the_same_photos(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 15)
    cut_off(tmp_path / "photos" / "a" / "00.png")
    cut_off(tmp_path / "photos" / "b" / "03.png")
    stopped = run(tmp_path, 2)
    assert stopped.returncode == 1, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert set(stopped.stderr.splitlines()) == {
        line for line in stopped.stderr.splitlines() if "00.png" in line and "--skip-bad" in line
    }
    for devices in (2, 1):
        result = run(tmp_path, devices, "--skip-bad")
        assert result.returncode == 3, result.stderr
        assert "left out: a/00" in result.stderr
    model = CamModel.open(tmp_path / "on2" / "train-cam").manifest
    assert [line.split(": ")[0] for line in model.skipped] == ["a/00"]
    maps = CamMaps.open(tmp_path / "on2" / "infer-cam").manifest
    assert [line.split(": ")[0] for line in maps.skipped] == ["a/00", "b/03"]
    assert maps.counts == {"photos": 13, "computed": 13}
    np.testing.assert_allclose(
        losses(tmp_path / "on2"), losses(tmp_path / "on1"), atol=1e-5, rtol=1e-5
    )


def test_batches_too_small_for_the_processes(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 15)
    result = run(tmp_path, 2, "--set", "train_cam.batch_size=1")
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "can't be shared among 2 processes [train_cam.batch_size]" in result.stderr


def test_gradient_checkpointing_changes_nothing(
    finished: tuple[Path, dict[int, Any]], tmp_path: Path
) -> None:
    root, _ = finished
    write_photos(tmp_path / "photos", 15)
    done = run(tmp_path, 2, train_cam__gradient_checkpointing=True)
    assert done.returncode == 0, done.stderr
    usual, less = (
        (folder / "on2" / "train-cam" / "model.safetensors").read_bytes()
        for folder in (root, tmp_path)
    )
    assert less == usual
