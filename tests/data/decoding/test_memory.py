"""Peak memory of reading a photo or mask of any mode, in bytes per pixel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_runs import environment
from tag2mask.data.decoding.rgb import to_rgb
from tag2mask.data.decoding.strips import strips

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak is read from /proc"
)

SIDE = 3000
READ = """
import sys
from pathlib import Path
from tag2mask.data.images import read_image
from tag2mask.data.masks import read_mask

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

for name in sys.argv[1:]:
    path = Path(name)
    read = (lambda p: read_mask(p, 1)) if "mask" in path.name else read_image
    read(path.with_name("small-" + path.name))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    before = peak()
    read(path)
    print(path.name, (peak() - before) / {side} ** 2)
"""


def write(folder: Path, name: str, image: Image.Image, **options: object) -> Path:
    image.save(folder / name, **options)
    image.crop((0, 0, 8, 8)).save(folder / f"small-{name}", **options)
    return folder / name


def test_bytes_per_pixel(tmp_path: Path) -> None:
    rgb = Image.new("RGB", (SIDE, SIDE), "gray")
    deep = Image.fromarray(np.full((SIDE, SIDE), 9000, np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    paths = [
        write(tmp_path, "rgb.png", rgb),
        write(tmp_path, "alpha.png", rgb.convert("RGBA")),
        write(tmp_path, "deep.png", deep),
        write(tmp_path, "float.tif", Image.new("F", (SIDE, SIDE), 0.5)),
        write(tmp_path, "turned.jpg", rgb, exif=exif),
        write(tmp_path, "progressive.jpg", rgb, progressive=True, subsampling=0),
        write(tmp_path, "mask.png", Image.new("L", (SIDE, SIDE), 1)),
        write(tmp_path, "deep-mask.png", Image.fromarray(np.ones((SIDE, SIDE), np.uint16))),
    ]
    done = subprocess.run(
        [sys.executable, "-c", READ.replace("{side}", str(SIDE)), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    used = {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}
    assert used.keys() == {path.name for path in paths}
    strip = 40e6 / SIDE**2  # work on a strip takes some MB whatever the photo's size
    assert 3.5 < used["rgb.png"] < 4.5, used
    assert max(used.values()) < 10.5 + strip, used
    assert max(used["mask.png"], used["deep-mask.png"]) < 3.5 + strip, used


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "RGB", "I;16", "I", "F"])
def test_strips_change_no_pixel(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(rng.integers(0, 60000, (37, 53)).astype(dtype))
    else:
        image = Image.fromarray(rng.integers(0, 256, (37, 53, 4), np.uint8))
        image = image.convert("LA" if mode == "PA" else "RGB" if mode in "PL" else mode)
        image = image if image.mode == mode else image.convert(mode)
    if mode in ("P", "L", "RGB"):
        image.info["transparency"] = (1, 2, 3) if mode == "RGB" else 7
    wanted = np.asarray(to_rgb(image))
    monkeypatch.setattr("tag2mask.data.decoding.strips.STRIP_PIXELS", 200)
    assert len(list(strips(image))) == 13
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), wanted)
