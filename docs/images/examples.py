"""Make ``examples.png`` from a run of ``make demo``: ``python docs/images/examples.py runs/demo``.

Three validation photos, not chosen by hand: those at the upper quartile, the median and the lower
quartile of mIoU. The photos are made from scikit-image's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tag2mask.data.index import read_classes
from tag2mask.maps.cam_map import read_map
from tag2mask.report.overlays import heat_overlay, mask_overlay

QUARTILES = (0.25, 0.5, 0.75)
WIDTH, GAP, HEAD = 190, 8, 26
COLUMNS = ("photo", "CAM baseline", "SEAM", "pseudo mask", "network, no tags", "ground truth")


def photo_ids(run: Path) -> list[str]:
    """Return the ids of the validation photos at the quartiles, best first."""
    lines = (run / "evaluate" / "photos.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    tagged = [row for row in rows if row["split"] == "val" and row["map_tags"]]
    ranked = sorted(tagged, key=lambda row: row["miou"], reverse=True)
    return [ranked[int(share * len(ranked))]["id"] for share in QUARTILES]


def pictures(run: Path, photo_id: str) -> list[Image.Image]:
    """Return one row: the photo, maps and masks over it."""
    classes = read_classes(run / "prepare")
    photo = Image.open(run / "data" / f"{photo_id}.jpg").convert("RGB")
    large = photo.resize((WIDTH, round(WIDTH * photo.height / photo.width)))

    def heat(folder: Path) -> Image.Image:
        return heat_overlay(large, read_map(folder / f"{photo_id}.npz").scores.max(0))

    def mask(file: Path) -> Image.Image:
        return mask_overlay(large, np.asarray(Image.open(file)), classes.colors)

    truth = run / "data" / "masks" / Path(photo_id).with_suffix(".png").name
    return [
        large,
        heat(run / "cam-baseline" / "infer-cam" / "maps"),
        heat(run / "infer-cam" / "maps"),
        mask(run / "pseudo-masks" / "masks" / f"{photo_id}.png"),
        mask(run / "predict" / "masks" / f"{photo_id}.png"),
        mask(truth),
    ]


def sheet(rows: list[list[Image.Image]], columns: tuple[str, ...]) -> Image.Image:
    """Return the rows below a line with the names of the columns."""
    step = WIDTH + GAP
    height = HEAD + sum(row[0].height + GAP for row in rows)
    page = Image.new("RGB", (step * len(columns) + GAP, height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for column, name in enumerate(columns):
        draw.text((GAP + column * step, 5), name, "#24292f", font)
    top = HEAD
    for row in rows:
        for column, picture in enumerate(row):
            page.paste(picture, (GAP + column * step, top))
        top += row[0].height + GAP
    return page


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    picture = sheet([pictures(folder, photo_id) for photo_id in photo_ids(folder)], COLUMNS)
    picture.quantize(192).save(Path(__file__).with_suffix(".png"), optimize=True)
