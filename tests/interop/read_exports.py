"""Reads the exports of `write_exports.py` with other tools' own code: ``make interop``.

Usage: ``python tests/interop/read_exports.py DIR``, in an environment with the packages of
``requirements.txt`` and without tag2mask. Prints the wrong pixels of each export and the versions
of the tools; exit code 1 where one is wrong. A tool that isn't installed is named and left out.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import yaml
from PIL import Image
from scipy import ndimage

Masks = Iterator[tuple[str, np.ndarray]]
"""Names of photos, and their masks."""
KEEP_IGNORED = {"ultralytics", "fiftyone", "huggingface", "voc"}
"""Exports that keep 255; it is background in the others."""
NOT_EXACT = {"yolo": 1, "labelme-polygons": 1}
"""How far from a contour pixels may be wrong, px: these tools draw a polygon's border too."""


def stem(name: str) -> str:
    """Return a photo's path without suffix and without the export's own folder."""
    return name.rpartition(".")[0]


def below(path: str, folder: Path) -> str:
    """Return a photo's id from its path below a folder."""
    return stem(Path(path).relative_to(folder).as_posix())


def coco(folder: Path, classes: list[str]) -> Masks:
    """Read with pycocotools."""
    from pycocotools.coco import COCO

    for file in sorted(folder.glob("annotations/*.json")):
        data = COCO(str(file))
        for key, image in data.imgs.items():
            mask = np.zeros((image["height"], image["width"]), np.uint8)
            for annotation in data.loadAnns(data.getAnnIds(imgIds=key)):
                pixels = data.annToMask(annotation).astype(bool)
                assert annotation["area"] == pixels.sum() and annotation["iscrowd"] == 0
                mask[pixels] = annotation["category_id"]
            yield stem(image["file_name"]), mask


def supervision(folder: Path, classes: list[str]) -> Masks:
    """Read COCO's run lengths with supervision."""
    import supervision as sv

    for file in sorted(folder.glob("annotations/*.json")):
        data = sv.DetectionDataset.from_coco(str(folder / "images"), str(file), force_masks=True)
        for path, image, found in data:
            yield below(path, folder / "images"), of_detections(image, found, data.classes, classes)


def of_detections(image, found, names: list[str], classes: list[str]) -> np.ndarray:
    """Return the mask of supervision's detections."""
    mask = np.zeros(image.shape[:2], np.uint8)
    for number, pixels in enumerate(() if found.mask is None else found.mask):
        mask[pixels.astype(bool)] = 1 + classes.index(names[found.class_id[number]])
    return mask


def supervision_yolo(folder: Path, classes: list[str]) -> Masks:
    """Read YOLO's polygons with supervision, which doesn't look into folders of a split."""
    import supervision as sv

    for labels in sorted({path.parent for path in folder.glob("labels/**/*.txt")}):
        images = folder / "images" / labels.relative_to(folder / "labels")
        data = sv.DetectionDataset.from_yolo(
            str(images), str(labels), str(folder / "data.yaml"), force_masks=True
        )
        for path, image, found in data:
            split = Path(path).relative_to(folder / "images").parts[0]
            yield (
                below(path, folder / "images" / split),
                of_detections(image, found, data.classes, classes),
            )


def cvat(folder: Path, classes: list[str]) -> Masks:
    """Decode the masks with cvat-sdk."""
    from cvat_sdk.masks import decode_mask

    for image in ElementTree.parse(folder / "annotations.xml").getroot().iter("image"):
        width, height = int(image.get("width")), int(image.get("height"))
        mask = np.zeros((height, width), np.uint8)
        for shape in image.iter("mask"):
            left, top, w, h = (int(shape.get(key)) for key in ("left", "top", "width", "height"))
            runs = [int(run) for run in shape.get("rle").split(",")]
            points = [*runs, left, top, left + w - 1, top + h - 1]
            pixels = decode_mask(points, image_width=width, image_height=height)
            mask[pixels] = 1 + classes.index(shape.get("label"))
        yield stem(image.get("name")), mask


def labelme(folder: Path, classes: list[str]) -> Masks:
    """Read with LabelMe's own reader, and draw polygons as LabelMe does."""
    from labelme._label_file import read_label_file
    from labelme.utils import shape_to_mask

    for path in sorted(p for p in folder.rglob("*.json") if not p.name.startswith(".")):
        found = read_label_file(str(path))
        with Image.open(path.parent / found.image_path) as photo:
            mask = np.zeros(photo.size[::-1], np.uint8)
        for shape in found.shapes:
            value = 1 + classes.index(shape["label"])
            if shape["shape_type"] == "mask":
                (left, top), _ = np.array(shape["points"], int)
                h, w = shape["mask"].shape
                mask[top : top + h, left : left + w][shape["mask"].astype(bool)] = value
            else:
                mask[shape_to_mask(mask.shape, shape["points"], shape["shape_type"])] = value
        yield stem((path.parent / found.image_path).relative_to(folder).as_posix()), mask


def labelstudio(folder: Path, classes: list[str]) -> Masks:
    """Decode the brush with label-studio-sdk's converter."""
    from label_studio_sdk.converter.brush import decode_rle
    from label_studio_sdk.label_interface import LabelInterface

    config = LabelInterface((folder / "labeling_config.xml").read_text(encoding="utf-8"))
    sizes = {}
    with_sizes = json.loads((folder.parents[1] / "truth/photos.json").read_text())
    for row in with_sizes:
        sizes[row["id"]] = np.load(folder.parents[1] / "truth" / row["mask"]).shape
    from urllib.parse import unquote

    for task in json.loads((folder / "tasks.json").read_text(encoding="utf-8")):
        prediction = task["predictions"][0]
        assert config.validate_prediction(prediction), task["data"]
        assert prediction["score"] == 0.5
        name = stem(unquote(task["data"]["image"].partition("?d=")[2]).removeprefix("images/"))
        mask = np.zeros(sizes[name], np.uint8)
        for region in prediction["result"]:
            shape = region["original_height"], region["original_width"]
            assert shape == mask.shape
            pixels = decode_rle(region["value"]["rle"]).reshape(*shape, 4)[..., 3] > 0
            mask[pixels] = 1 + classes.index(region["value"]["brushlabels"][0])
        yield name, mask


def huggingface(folder: Path, classes: list[str]) -> Masks:
    """Read with datasets."""
    import datasets

    data = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), cache_dir=str(folder.parent / ".cache")
    )
    for split, own in data.items():
        own = own.cast_column("image", datasets.Image(decode=False))
        for row in own:
            assert row["mask"].mode == "L"
            parent = folder / {"validation": "val"}.get(split, split) / "images"
            yield below(row["image"]["path"], parent), np.asarray(row["mask"])


def fiftyone(folder: Path, classes: list[str]) -> Masks:
    """Read with FiftyOne's importer of the README's dataset type, which needs no data base."""
    import fiftyone.types as types

    importer = types.ImageSegmentationDirectory().get_dataset_importer_cls()(str(folder))
    with importer:
        for path, _, label in importer:
            split, _, name = Path(path).relative_to(folder / "data").as_posix().partition("/")
            assert split in ("train", "val")
            yield stem(name), label.get_mask()
    targets = json.loads((folder / "mask_targets.json").read_text(encoding="utf-8"))
    assert [targets[str(1 + place)] for place in range(len(classes))] == classes


def ultralytics(folder: Path, classes: list[str]) -> Masks:
    """Read the documented layout: the masks of the photos that the YAML names."""
    found = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert list(found["names"].values()) == ["background", *classes]
    root = Path(found["path"])
    assert root.samefile(folder)
    for split in ("train", "val"):
        for photo in sorted(p for p in (root / found[split]).rglob("*") if p.is_file()):
            text = str(photo).replace("/images/", f"/{found['masks_dir']}/")
            with Image.open(Path(text).with_suffix(".png")) as mask:
                assert mask.mode == "L"
                yield below(photo, root / found[split]), np.asarray(mask)


def voc(folder: Path, classes: list[str]) -> Masks:
    """Read the documented layout: colors of ``labelmap.txt``, as CVAT does."""
    lines = (folder / "labelmap.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split(":")[:2] for line in lines if line and not line.startswith("#")]
    assert [name for name, _ in rows][: 1 + len(classes)] == ["background", *classes]
    values = {tuple(map(int, color.split(","))): n for n, (_, color) in enumerate(rows)}
    for file in sorted((folder / "ImageSets/Segmentation").glob("*.txt")):
        for name in file.read_text(encoding="utf-8").splitlines():
            with Image.open(folder / f"SegmentationClass/{name}.png") as mask:
                assert mask.mode == "P"
                colors, indices = np.asarray(mask.convert("RGB")), np.asarray(mask)
            if folder.name == "voc-cvat":
                colored = [values[tuple(color)] for color in colors.reshape(-1, 3).tolist()]
                np.testing.assert_array_equal(np.reshape(colored, indices.shape), indices)
            yield name, indices


def binary(folder: Path, classes: list[str]) -> Masks:
    """Read with Pillow."""
    found: dict[str, np.ndarray] = {}
    for value, name in enumerate(classes, 1):
        for path in sorted((folder / "masks" / name).rglob("*.png")):
            with Image.open(path) as image:
                assert image.mode == "L"
                pixels = np.asarray(image)
            assert set(np.unique(pixels)) <= {0, 255}
            mask = found.setdefault(below(path, folder / "masks" / name), np.zeros_like(pixels))
            mask[pixels == 255] = value
    yield from found.items()


READERS: dict[str, tuple[str, str, Callable[[Path, list[str]], Masks]]] = {
    "pycocotools": ("coco", "pycocotools", coco),
    "pycocotools, polygons": ("coco-polygons", "pycocotools", coco),
    "pycocotools, stuff": ("coco-stuff", "pycocotools", coco),
    "supervision": ("coco", "supervision", supervision),
    "supervision, YOLO": ("yolo", "supervision", supervision_yolo),
    "cvat-sdk": ("cvat", "cvat-sdk", cvat),
    "labelme": ("labelme", "labelme", labelme),
    "labelme, polygons": ("labelme-polygons", "labelme", labelme),
    "label-studio-sdk": ("labelstudio", "label-studio-sdk", labelstudio),
    "datasets": ("huggingface", "datasets", huggingface),
    "fiftyone": ("fiftyone", "fiftyone", fiftyone),
    "layout of Ultralytics": ("ultralytics", "pillow", ultralytics),
    "layout of VOC": ("voc", "pillow", voc),
    "layout of CVAT's masks": ("voc-cvat", "pillow", voc),
    "binary": ("binary", "pillow", binary),
}
"""Export, package and reader by name of the check."""


def wrong_pixels(mask: np.ndarray, truth: np.ndarray, border: int) -> int:
    """Return the number of differing pixels farther than ``border`` px from a contour."""
    wrong = mask != truth
    if border:
        size = 2 * border + 1
        near = ndimage.maximum_filter(truth, size) != ndimage.minimum_filter(truth, size)
        wrong &= ~near
    return int(wrong.sum())


def check(folder: Path, name: str) -> tuple[int, int]:
    """Return the wrong pixels of an export as a tool reads it, and the number of photos."""
    export, _, read = READERS[name]
    classes = json.loads((folder / "truth/classes.json").read_text())
    truths = {
        row["id"]: np.load(folder / "truth" / row["mask"])
        for row in json.loads((folder / "truth/photos.json").read_text())
    }
    wrong = 0
    seen = set()
    for id, mask in read(folder / "exports" / export, classes):
        truth = truths[id]
        if export not in KEEP_IGNORED:
            truth = np.where(truth == 255, 0, truth)
        assert mask.shape == truth.shape, (id, mask.shape, truth.shape)
        wrong += wrong_pixels(mask, truth, NOT_EXACT.get(export, 0))
        seen.add(id)
    missing = {id for id in truths if id not in seen and (truths[id] % 255).any()}
    assert not missing, missing
    return wrong, len(seen)


def main(folder: Path) -> int:
    """Check every export; return the exit code."""
    failed = 0
    for name, (_, package, _) in READERS.items():
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            print(f"{name}: not installed")
            continue
        try:
            with redirect_stdout(io.StringIO()):
                wrong, photos = check(folder, name)
        except Exception:
            traceback.print_exc()
            print(f"{name}: can't be read ({package} {version})", flush=True)
            failed += 1
            continue
        failed += wrong > 0
        print(f"{name}: {wrong} wrong pixels in {photos} photos ({package} {version})", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
