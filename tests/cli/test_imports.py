"""Which heavy libraries each command imports: only those that it uses, so that it starts fast."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from export_scenes import write_model
from PIL import Image
from scenes import OneRank, discs

from onnx_file import write_network
from small_runs import environment, prepared, write_photos
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.steps.pseudo_masks import pseudo_masks

HEAVY = (
    "PIL",
    "jinja2",
    "lightning_fabric",
    "matplotlib",
    "numba",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "pycocotools",
    "safetensors",
    "scipy",
    "segmentation_models_pytorch",
    "skimage",
    "sklearn",
    "tag2mask.crf",
    "tensorboard",
    "timm",
    "torch",
    "torchvision",
)
NONE: frozenset[str] = frozenset()
PHOTOS = frozenset({"PIL", "numpy", "pycocotools"})
LOOPS = frozenset({"numba", "scipy"})
"""Numba imports a part of SciPy."""
CRF = LOOPS | {"tag2mask.crf"}
PAGE = frozenset({"PIL", "jinja2", "matplotlib", "numpy"})
NETWORKS = frozenset(
    {
        "lightning_fabric",
        "safetensors",
        "segmentation_models_pytorch",
        "timm",
        "torch",
        "torchvision",
    }
)
"""A run that is not trained yet builds each network once before it starts."""
RANKS = frozenset({"PIL", "lightning_fabric", "numpy", "torch"})

# `report` resizes no map, so it needs no torch.
MAY_IMPORT = {
    "--help": NONE,
    "--version": NONE,
    "run --help": NONE,
    "ablate --help": NONE,
    "predict --help": NONE,
    "train-cam --help": NONE,
    "review --help": NONE,
    "ask --help": NONE,
    "recipe list": NONE,
    "recipe show lite0-cpu": NONE,
    "recipe check lite0-cpu": NONE,
    "status {run}": PHOTOS,
    "data check {photos}": PHOTOS,
    "prepare --data {photos} --out {out}": PHOTOS,
    "run --dry-run --data {photos} --out {out}": PHOTOS | LOOPS | NETWORKS,
    "ablate --dry-run --data {photos} --out {out}": PHOTOS,
    "predict {photos} --model {network} --out {out}": PHOTOS | LOOPS | {"onnxruntime"},
    "predict {photos} --model {segmenter} --out {out}": PHOTOS
    | LOOPS
    | {"safetensors", "segmentation_models_pytorch", "timm", "torch", "torchvision"},
    "report --run {scene} --out {out}": PAGE,
    "pseudo-masks --data {scene}/prepare --maps {scene}/infer-cam --out {out}"
    " --set pseudo_masks.threshold_from=fixed": RANKS | CRF,
    "evaluate --data {scene}/prepare --maps {scene}/infer-cam --masks {masks} --out {out}": RANKS
    | PAGE
    | {"scipy", "sklearn", "skimage"},
}
"""The libraries among `HEAVY` that each command may import."""

_CODE = f"""
import sys
from tag2mask.__main__ import main
try:
    main()
finally:
    print("imported:", *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""


@dataclass(frozen=True)
class Folders:
    """What the commands read."""

    run: Path
    photos: Path
    network: Path
    segmenter: Path
    scene: Path
    masks: Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("imports")
    photos = write_photos(root / "photos", 4)
    prepared(photos, root / "run" / "prepare")
    scene = discs(tmp_path_factory.mktemp("scene"))
    for samples in scene.samples.values():
        for sample in samples:
            Image.new("RGB", sample.size[::-1]).save(sample.image)
    fixed = PseudoMasks(threshold_from="fixed")
    masks = pseudo_masks(scene.data, scene.maps, fixed, root / "masks", OneRank()).path
    onnx, trained = write_network(root / "colors.onnx"), write_model(root / "model.safetensors")
    return Folders(root / "run", photos, onnx, trained, scene.root, masks)


@pytest.mark.parametrize("command", MAY_IMPORT)
def test_a_command_imports_only_what_it_uses(
    command: str, folders: Folders, tmp_path: Path
) -> None:
    arguments = command.format(**vars(folders), out=tmp_path / "out").split()
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stderr.rpartition("imported:")[2].split())
    assert imported <= MAY_IMPORT[command], imported - MAY_IMPORT[command]
