"""Photos of every mode and orientation are read as upright RGB."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from tag2mask.data import images, masks
from tag2mask.data.decoding.budget import PixelBudget
from tag2mask.data.images import image_size, read_image
from tag2mask.errors import DataError, DeviceError
from tag2mask.formats.pixels import opening

pytestmark = pytest.mark.smoke

GRADIENT = np.linspace(0, 255, 24 * 40).reshape(24, 40)


def photo(height: int = 24, width: int = 40) -> Image.Image:
    values = np.zeros((height, width, 3), np.uint8)
    values[: height // 2, : width // 2] = (255, 0, 0)
    values[: height // 2, width // 2 :] = (0, 255, 0)
    values[height // 2 :, : width // 2] = (0, 0, 255)
    return Image.fromarray(values)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb_of_the_same_size(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"x.{'tif' if mode in ('CMYK', 'YCbCr', 'LAB') else 'png'}"
    in_mode = photo()
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        in_mode = ImageCms.profileToProfile(in_mode, srgb, lab, outputMode="LAB")
    else:
        in_mode = in_mode.convert(mode)
    in_mode.save(path)
    image = read_image(path)
    assert image.mode == "RGB"
    assert image.size == (40, 24)
    assert image_size(path) == (24, 40)
    # The top left quarter is red, the bottom right one black; mode 1 is dithered.
    pixels = np.asarray(image, float)
    assert pixels[:12, :20].mean() > pixels[12:, 20:].mean()


def test_cmyk_jpeg_keeps_its_colors(tmp_path: Path) -> None:
    photo().convert("CMYK").save(tmp_path / "x.jpg", quality=98)
    red = np.asarray(read_image(tmp_path / "x.jpg"))[2:8, 2:12].mean((0, 1))
    assert red[0] > 200
    assert red[1:].max() < 60


def test_palette_with_transparency_is_blended_with_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((4, 4), 1)
    image.save(tmp_path / "x.png", transparency=0)
    rgb = read_image(tmp_path / "x.png")
    assert rgb.getpixel((0, 0)) == (255, 255, 255)
    assert rgb.getpixel((4, 4)) == (200, 100, 50)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_color_is_blended_with_white(tmp_path: Path, mode: str) -> None:
    color: object = 7 if mode == "L" else (7, 8, 9)
    Image.new(mode, (5, 5), color).save(tmp_path / "x.png", transparency=color)
    assert read_image(tmp_path / "x.png").getpixel((2, 2)) == (255, 255, 255)


def test_alpha_is_blended_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (5, 5), (0, 0, 0, 51)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").getpixel((2, 2)) == (204, 204, 204)


@pytest.mark.parametrize(
    "values",
    [
        (GRADIENT * 257).astype(np.uint16),
        (GRADIENT * 257).astype(np.int32),
        GRADIENT.astype(np.int32),
        (GRADIENT / 255).astype(np.float32),
        GRADIENT.astype(np.float32),
        (GRADIENT * 1000 - 5000).astype(np.float32),
    ],
    ids=["I;16", "I to 65535", "I to 255", "F to 1", "F to 255", "F of any range"],
)
def test_deep_gray_is_scaled_not_clipped(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    gray = np.asarray(read_image(tmp_path / "x.tif"))[..., 0].astype(float)
    assert np.abs(gray - GRADIENT).max() <= 1.0


def test_sixteen_bit_gray_uses_the_range_of_its_type(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 257 * 100, np.uint16)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").getpixel((1, 1)) == (100, 100, 100)


def test_nan_in_floats_is_black(tmp_path: Path) -> None:
    values = np.full((4, 4), 0.5, np.float32)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert read_image(tmp_path / "x.tif").getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = photo(64, 96)
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    if suffix == "tif":
        stored.save(path, tiffinfo={274: orientation})
    else:
        stored.save(path, exif=exif, quality=98)
    assert image_size(path) == (64, 96)
    read = read_image(path, at_least=48)
    assert read.size in ((96, 64), (48, 32))
    small = np.asarray(read.resize((6, 4), Image.Resampling.BOX), float)
    wanted = np.asarray(upright.resize((6, 4), Image.Resampling.BOX), float)
    assert np.abs(small - wanted).max() < 30


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_photo_with_damaged_exif_is_read(tmp_path: Path) -> None:
    photo().save(tmp_path / "x.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff broken")
    assert read_image(tmp_path / "x.jpg").size == (40, 24)
    assert image_size(tmp_path / "x.jpg") == (24, 40)


@pytest.mark.parametrize(
    ("at_least", "long"),
    [
        (None, 1000),
        (501, 1000),
        (500, 500),
        (250, 250),
        (130, 250),
        (125, 125),
        (1, 125),
        (4000, 1000),
    ],
)
@pytest.mark.parametrize("tall", [False, True])
def test_draft_decodes_smaller_but_never_below(
    tmp_path: Path, at_least: int | None, long: int, tall: bool
) -> None:
    photo(*((1000, 30) if tall else (30, 1000))).save(tmp_path / "x.jpg")
    assert max(read_image(tmp_path / "x.jpg", at_least=at_least).size) == long


def test_size_needs_no_pixels(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    for name in ("x.png", "x.jpg"):
        path = tmp_path / name
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:2000])
        assert image_size(path) == (300, 200)
        with pytest.raises(DataError, match=rf"can't be read.*{name}.*replace it"):
            read_image(path)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_off_jpeg_is_found_at_any_size(tmp_path: Path, progressive: bool) -> None:
    """The data check decodes at the smallest size."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    path = tmp_path / "x.jpg"
    Image.fromarray(noise).save(path, progressive=progressive)
    data = path.read_bytes()
    assert max(read_image(path, at_least=1).size) == 38
    for missing in (3, 100, len(data) // 2):
        path.write_bytes(data[:-missing])
        for at_least in (None, 1):
            with pytest.raises(DataError, match="can't be read"):
                read_image(path, at_least=at_least)


@pytest.mark.parametrize("suffix", ["png", "gif", "ppm"])
def test_a_file_too_short_for_its_size(tmp_path: Path, suffix: str) -> None:
    """Memory for all pixels would be taken before they are found missing."""
    path = tmp_path / f"x.{suffix}"
    Image.new("L", (30_000, 5)).save(path)
    assert image_size(path) == (5, 30_000)
    data = path.read_bytes()
    old, new = {
        "png": (struct.pack(">II", 30_000, 5), struct.pack(">II", 30_000, 30_000)),
        "gif": (struct.pack("<HH", 30_000, 5), struct.pack("<HH", 30_000, 30_000)),
        "ppm": (b"30000 5", b"30000 30000"),
    }[suffix]
    data = data.replace(old, new)
    if suffix == "png":  # with the checksum of its header
        data = data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
    path.write_bytes(data)
    for reader in (read_image, image_size):
        with pytest.raises(DataError, match=r"can't hold 30000 x 30000 pixels"):
            reader(path)


@pytest.mark.parametrize("suffix", ["png", "gif", "ppm", "jpg"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_the_emptiest_photos_are_not_too_short(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"x.{suffix}"
    options = {"optimize": True, "quality": 1, "progressive": True} if suffix == "jpg" else {}
    Image.new(mode, (4000, 3000)).save(path, **options)
    assert image_size(path) == (3000, 4000)


def test_exif_after_the_pixels_of_a_png_is_ignored(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    exif = Image.Exif()
    exif[0x0112] = 6
    info.add(b"eXIf", exif.tobytes()[6:], after_idat=True)
    photo().save(tmp_path / "x.png", pnginfo=info)
    assert image_size(tmp_path / "x.png") == (24, 40)
    assert read_image(tmp_path / "x.png").size == (40, 24)


@pytest.mark.parametrize("reader", [read_image, image_size])
def test_bad_files_are_named(tmp_path: Path, reader) -> None:
    with pytest.raises(DataError, match=r"missing.*gone\.jpg"):
        reader(tmp_path / "gone.jpg")
    (tmp_path / "text.jpg").write_text("not a photo\n" * 50)
    with pytest.raises(DataError, match=r"not a photo.*text\.jpg.*Replace"):
        reader(tmp_path / "text.jpg")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"not a photo.*empty\.png"):
        reader(tmp_path / "empty.png")
    photo().save(tmp_path / "drawing.jpg", "EPS")
    with pytest.raises(DataError, match=r"not a photo.*drawing\.jpg"):
        reader(tmp_path / "drawing.jpg")
    (tmp_path / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(DataError, match=r"can't read \.heic photos.*phone\.HEIC.*Convert"):
        reader(tmp_path / "phone.HEIC")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(DataError, match=r"folder.*folder\.jpg"):
        reader(tmp_path / "folder.jpg")


def test_large_photos_are_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("x.png", "x.tif", "x.jpg", "x.bmp")
    for name in names:
        photo().save(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in names:
            assert image_size(tmp_path / name) == (24, 40)
            assert read_image(tmp_path / name).size == (40, 24)
    monkeypatch.setattr(opening, "MAX_PIXELS", 24 * 40 - 1)
    for reader in (read_image, image_size):
        with pytest.raises(DataError, match=r"40 x 24 pixels.*x\.png.*pieces"):
            reader(tmp_path / "x.png")
        with pytest.raises(DataError, match="missing"):
            reader(tmp_path / "gone.png")


def test_a_photo_larger_than_its_decoder_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo().save(tmp_path / "x.webp")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(DataError, match=r"larger than Pillow decodes.*x\.webp.*PNG or TIFF"):
        read_image(tmp_path / "x.webp")


def test_a_jpeg_too_short_for_its_size(tmp_path: Path) -> None:
    """Its decoder takes memory for all pixels before it finds that they are missing."""
    Image.new("RGB", (64, 64)).save(tmp_path / "x.jpg", progressive=True)
    data = bytearray((tmp_path / "x.jpg").read_bytes())
    size = data.index(b"\xff\xc2") + 5
    data[size : size + 4] = struct.pack(">HH", 31_000, 31_000)
    (tmp_path / "x.jpg").write_bytes(data)
    for reader in (read_image, image_size):
        with pytest.raises(DataError, match=r"can't hold 31000 x 31000 pixels.*x\.jpg"):
            reader(tmp_path / "x.jpg")


def test_pillows_settings_are_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They belong to all threads: files that another one opens meanwhile would fail."""
    photo().save(tmp_path / "x.png")
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    seen = []
    factory, accepts = Image.OPEN["PNG"]

    def recorded(*arguments: object) -> object:
        seen.append((Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES))
        return factory(*arguments)  # type: ignore[arg-type]

    monkeypatch.setitem(Image.OPEN, "PNG", (recorded, accepts))
    read_image(tmp_path / "x.png")
    image_size(tmp_path / "x.png")
    assert seen == [before] * 2


@pytest.mark.parametrize("error", opening.DECODE_ERRORS)
def test_whatever_a_decoder_raises_names_the_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    photo().save(tmp_path / "x.png")

    def fail(self: PngImagePlugin.PngImageFile) -> None:
        raise struct.error if error is struct.error else error("damaged")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises((DataError, DeviceError), match=r"x\.png"):
        read_image(tmp_path / "x.png")


class RecordedBudget(PixelBudget):
    """Lists the pixels of the images."""

    def __init__(self) -> None:
        super().__init__(10**9)
        self.shares: list[int] = []

    @contextmanager
    def share(self, pixels: int) -> Iterator[None]:
        self.shares.append(pixels)
        with super().share(pixels):
            yield


def test_photos_and_masks_take_their_share_of_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = RecordedBudget()
    monkeypatch.setattr(images, "DECODING", budget)
    monkeypatch.setattr(masks, "DECODING", budget)
    photo(300, 400).save(tmp_path / "x.jpg")
    Image.new("L", (7, 9)).save(tmp_path / "mask.png")
    read_image(tmp_path / "x.jpg")
    read_image(tmp_path / "x.jpg", at_least=50)  # a progressive one takes memory for all pixels
    masks.read_mask(tmp_path / "mask.png", 1)
    assert budget.shares == [120_000, 120_000, 63]
    image_size(tmp_path / "x.jpg")  # decodes nothing
    assert len(budget.shares) == 3


def test_real_photos(shared: Path) -> None:
    paths = sorted((shared / "voc12" / "JPEGImages").iterdir())[:10]
    assert paths
    for path in paths:
        image = read_image(path)
        assert (image.height, image.width) == image_size(path)
