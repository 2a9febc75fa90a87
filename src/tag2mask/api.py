"""A trained network from Python: ``tag2mask.load(path)(image)``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO, TextIOBase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from tag2mask.classes import ClassSet
from tag2mask.data.decoding.budget import DECODING
from tag2mask.data.decoding.orientation import exif_orientation, turned
from tag2mask.data.decoding.rgb import to_rgb
from tag2mask.data.images import image_size, read_image
from tag2mask.errors import DataError, WeightsError
from tag2mask.files.os_errors import readable_os_errors
from tag2mask.formats.pixels.opening import DECODE_ERRORS, Source, one_line
from tag2mask.formats.pixels.palette_image import palette_image
from tag2mask.pipeline.status import find_run_recipe
from tag2mask.recipe.loading import load_recipe, recipe_from
from tag2mask.recipe.schema import Recipe
from tag2mask.report.overlays import fitted, mask_overlay
from tag2mask.segmentation.inference.labeling import LabelingSettings, PhotoLabeler
from tag2mask.segmentation.inference.segmenter import Segmenter
from tag2mask.segmentation.loading import is_onnx, open_onnx, open_segmenter, segmenter_file
from tag2mask.steps.predict import segmentation_settings

AnyImage = (
    str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.NDArray[np.uint8]
)


@dataclass(frozen=True)
class Prediction:
    """The labels of one photo of (H, W) px.

    Attributes:
        labels: mask ids, uint8 (H, W): 0 background, 1..C the classes.
        confidence: the label's probability, float32 (H, W) in [0, 1].
        classes: the foreground classes.
        probabilities: of all mask ids on the network's grid, float16 (C+1, h, w); None without
            the setting ``probabilities=True``.
    """

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    classes: ClassSet
    probabilities: npt.NDArray[np.float16] | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the photo's pixels by class name, for classes with any pixel."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes) + 1)
        return {
            name: float(count) / self.labels.size
            for name, count in zip(self.classes.mask_names, counts, strict=True)
            if count
        }

    def mask(self) -> Image.Image:
        """Return the labels as an image of mode P, to be saved as PNG."""
        return palette_image(self.labels, self.classes.colors)

    def overlay(self, image: AnyImage, *, most: int | None = None) -> Image.Image:
        """Draw the mask over its photo.

        Args:
            image: the photo, as for `Predictor`; it may be smaller or larger than the mask.
            most: maximum long side of the overlay, px; None: the photo's, which takes about 60
                bytes per pixel.
        """
        photo = _photo(image)[0]
        return mask_overlay(
            photo if most is None else fitted(photo, most), self.labels, self.classes.colors
        )


class Predictor:
    """Labels photos with a trained network; returned by `load`.

    Args:
        segmenter: the network.
        settings: how photos are labeled; with ``confidence="float32"``.
    """

    def __init__(self, segmenter: Segmenter, settings: LabelingSettings) -> None:
        self._segmentation = PhotoLabeler(segmenter, settings)

    @property
    def classes(self) -> ClassSet:
        """The foreground classes."""
        return self._segmentation.segmenter.classes

    def __call__(self, image: AnyImage) -> Prediction:
        """Label one photo.

        Args:
            image: path of a photo of any format and size; the bytes of such a file, or a file
                opened in binary mode; a Pillow image of any mode; or a uint8 array (H, W, 3) in
                RGB, (H, W, 4), (H, W, 1) or (H, W). Files and Pillow images are turned upright by
                their EXIF orientation, which a Pillow image keeps when it is converted
                (``PIL.ImageOps.exif_transpose`` turns one and removes it); arrays have none.

        Raises:
            DataError: unreadable photo, or another kind of array.
            DeviceError: out of memory.
        """
        photo, size = _photo(image, self._segmentation)
        found = self._segmentation(photo, size)
        assert found.confidence is not None
        return Prediction(
            found.labels,
            found.confidence.astype(np.float32, copy=False),
            self.classes,
            found.probabilities,
        )


def load(path: str | Path, *, device: str = "auto", **settings: Any) -> Predictor:
    """Load a trained segmentation network to label photos with.

    Args:
        path: a run folder, the folder that ``train-segmenter`` or ``export`` wrote,
            ``model.safetensors``, or an ONNX file; exported networks need no torch.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, or a torch device (``cuda:1``); an ONNX file
            runs on the CPU only.
        **settings: keys of the recipe's section ``predict``, such as ``flip=True`` or
            ``long_side="photo"``; others are those of the run's own recipe, those stored in an
            exported network, or the defaults.

    Raises:
        RunFolderError: a folder without a finished ``train-segmenter``.
        WeightsError: no path, no such file, truncated, or not a segmentation network.
        RecipeError: an unknown setting, or an impossible value.
        DeviceError: no such device.
    """
    try:
        place = Path(path)
    except TypeError:
        raise WeightsError(
            f"the path of a network is text or a pathlib.Path, not {type(path).__name__}",
            fix="Give a run folder or a model file.",
        ) from None
    with readable_os_errors(place):
        own, file = find_run_recipe(place), segmenter_file(place)
    values = (
        Recipe() if own is None else load_recipe(own, effects=False, allow_modules=True)
    ).model_dump()
    section = recipe_from(values | {"predict": values["predict"] | settings}).predict
    segmenter: Segmenter
    if is_onnx(file):
        segmenter = exported = open_onnx(
            file, device=device, precision=section.precision, caller_threads=1
        )
        recorded = Recipe().predict.model_dump() | exported.spec.predict.settings() | settings
        section = recipe_from({"predict": recorded}).predict
    else:
        segmenter = open_segmenter(
            file, device=device, precision=section.precision, caller_threads=1
        )
    return Predictor(
        segmenter, replace(segmentation_settings(section, segmenter), confidence="float32")
    )


def _photo(
    image: AnyImage, segmentation: PhotoLabeler | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Return a photo as upright RGB, decoded no larger than needed, and its full size (H, W)."""
    if isinstance(image, Image.Image):
        rgb = _pillow_image(image)
        return rgb, (rgb.height, rgb.width)
    source = _encoded(image)
    if source is not None:
        size = image_size(source)
        at_least = None if segmentation is None else segmentation.decode_at(size)
        return read_image(source, at_least=at_least), size
    rgb = to_rgb(_array_image(image))
    return rgb, (rgb.height, rgb.width)


def _array_image(image: Any) -> Image.Image:
    """Return an array as an image of mode RGB, RGBA or L."""
    shape: tuple[int, ...] = getattr(image, "shape", ())
    dtype = getattr(image, "dtype", None)
    bands = shape[2] if len(shape) == 3 else 1
    if dtype != np.uint8 or not image.size or len(shape) not in (2, 3) or bands not in (1, 3, 4):
        raise DataError(
            f"the image is {type(image).__name__} of {dtype}, {shape}",
            fix="Give a path, the bytes of an image file, a Pillow image, or uint8 (h, w, 3) in "
            "RGB.",
        )
    return Image.fromarray(image[..., 0] if shape[2:] == (1,) else image)


def _encoded(image: Any) -> Source | None:
    """Return an image file as a path, or as a binary file that can seek; None: another kind.

    Raises:
        DataError: a file in text mode, a closed one, or no file.
    """
    if isinstance(image, str | Path):
        return Path(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return BytesIO(image)
    if isinstance(image, TextIOBase):
        raise DataError("the image is a file in text mode", fix="Open it with mode 'rb'.")
    if not hasattr(image, "read"):
        return None
    file: BinaryIO = image
    try:
        return file if file.seekable() else BytesIO(file.read())
    except (AttributeError, TypeError, ValueError, OSError) as error:
        raise DataError(
            f"the image is a file that can't be read: {one_line(error)}",
            fix="Give an open binary file.",
        ) from None


def _pillow_image(image: Image.Image) -> Image.Image:
    """Return a Pillow image as upright RGB; it may be an opened file that isn't decoded yet."""
    if not all(image.size):
        raise DataError(
            f"the image has {image.width}x{image.height} px", fix="Give one with pixels."
        )
    with DECODING.share(image.width * image.height):
        try:
            orientation = exif_orientation(image)
            image.load()
        except DECODE_ERRORS as error:
            raise DataError(
                f"the image can't be read: {one_line(error)}", fix="It is cut off or damaged."
            ) from None
        return turned(to_rgb(image), orientation)
