"""Sections of a recipe that have no module of their own.

They are those of the steps ``prepare``, ``infer-cam``, ``predict``, ``evaluate`` and ``report``,
and ``runtime``.

Sections are frozen and refuse unknown keys. In those with ``behavior``, ``published`` reproduces
the authors' code including its deviations from the paper, and ``default`` corrects them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tag2mask.recipe.crf import ComparedCrf, SegmentationCrf
from tag2mask.recipe.data_layouts import Layout
from tag2mask.recipe.fields import (
    MOST_PROCESSES,
    MOST_SIDE,
    MOST_THREADS,
    Behavior,
    Count,
    Fraction,
    Integer,
    MapStride,
    NonNegativeCount,
    Number,
    Precision,
    Scale,
    Section,
    Side,
)


def _side_or_name(given: object) -> object:
    """Check both alternatives at once, so that there is one message instead of two."""
    is_side = (
        isinstance(given, (int, float))
        and not isinstance(given, bool)
        and 1 <= given <= MOST_SIDE
        and given == int(given)
    )
    if is_side or given in ("trained", "photo"):
        return given
    raise ValueError(f"a number of px up to {MOST_SIDE}, 'trained' or 'photo'")


class Prepare(Section):
    """Step ``prepare``: the photos and their tags."""

    not_identity = frozenset({"skip_bad", "val_fraction"})

    source: Layout = "auto"
    """Layout of the data folder; auto: detected."""
    tags: Literal["auto", "annotations", "tags.csv", "cls_labels", "masks"] = "auto"
    """Source of the tags in VOC's layout; ``masks``: in Roboflow's, from the masks."""
    train_split: str = "train"
    """Name of a split, or path of a text file of ids."""
    val_split: str | None = "val"
    """Name of a split, or path of a text file of ids; null: none."""
    val_fraction: Annotated[Number, Field(ge=0.0, le=0.5)] = 0.2
    """Share of the photos that is drawn for validation where the data names none; 0: none."""
    skip_bad: bool = False
    """Skip unreadable photos (listed in the manifest, exit code 3) instead of stopping."""


class InferCam(Section):
    """Step ``infer-cam``: multi-scale class activation maps of every photo."""

    not_identity = frozenset({"batch_views", "skip_bad"})
    added_keys = MappingProxyType({"tile": None})

    behavior: Behavior = "default"
    branch: Literal["auto", "refined", "plain", "attention"] = "auto"
    """The CAM refined by PCM or the plain one; auto: refined if PCM was trained; attention: the
    plain one, spread along the attention of a ViT."""
    long_side: Side | None = 384
    """The photo's long side at scale 1, px; null: its own size (published)."""
    scales: tuple[Scale, ...] = (1.0, 1.5)
    """Scales of the views whose maps are averaged."""
    flip: bool = True
    """Also average the maps of the mirrored views."""
    tile: Annotated[Integer, Field(ge=64, le=MOST_SIDE)] | None = None
    """Plain maps of views larger than this are computed in tiles of this side, px, which overlap by
    an eighth of it; null: no tiles."""
    gate_by_tags: bool = True
    """Only the classes of the photo's tags enter PCM."""
    batch_views: Count = 8
    """Views computed at once; on a CPU, views of one photo only."""
    map_stride: MapStride = 4
    """Photo pixels per stored map cell."""
    map_dtype: Literal["uint8", "float16"] = "uint8"
    tags: Literal["known", "untagged", "predicted"] = "known"
    """Which classes get maps: the photo's tags; predicted tags for photos without tags; predicted
    tags for all photos."""
    tag_threshold: Fraction = 0.5
    """Smallest probability of a predicted tag; the most probable class is always predicted."""
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    precision: Precision = "auto"
    skip_bad: bool = False


class Predict(Section):
    """Step ``predict``: masks from the segmentation network, without tags."""

    not_identity = frozenset({"batch_size", "skip_bad"})

    behavior: Behavior = "default"
    """published: average the logits of the views instead of their probabilities, without padding
    them, and give all classes to the CRF."""
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    """Splits to predict in a run."""
    long_side: Annotated[Side | Literal["trained", "photo"], BeforeValidator(_side_or_name)] = (
        "trained"
    )
    """The photo's long side at scale 1, px; trained: the middle of the range in training; photo:
    its own size."""
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (1.0,)
    """Scales whose probabilities are averaged."""
    flip: bool = False
    """Also average the probabilities of the mirrored views."""
    tile: Annotated[Integer, Field(ge=64, le=MOST_SIDE)] = 1024
    """Views larger than this are computed in tiles of this side, px."""
    overlap: NonNegativeCount = 128
    """Overlap of neighboring tiles, px; they are blended there."""
    crf: SegmentationCrf = SegmentationCrf()
    overlays: bool = False
    """Also write ``overlays/<id>.jpg``, the mask over the photo."""
    confidence: bool = False
    """Also write the confidence of each pixel, ``confidence/<id>.png``, 8-bit gray."""
    probabilities: bool = False
    """Also write the probability of every class, ``probabilities/<id>.npz``, float16."""
    batch_size: Count = 8
    """Views of equal size computed at once."""
    precision: Precision = "auto"
    skip_bad: bool = False
    """Skip unreadable photos (exit code 3) instead of stopping; the command always skips them."""

    def side(self, trained: int | None) -> int | None:
        """Return the photo's long side at scale 1, px; None: its own.

        Args:
            trained: that of the training, px; None: the photo's own.
        """
        side = self.long_side
        return side if isinstance(side, int) else {"trained": trained, "photo": None}[side]


class Evaluate(Section):
    """Step ``evaluate``: scores of maps, masks and tags."""

    added_keys = MappingProxyType({"use_drawn": False})

    behavior: Behavior = "default"
    """published: a class without any pixel has IoU 0; default: it is left out of the mean."""
    thresholds: Annotated[tuple[Fraction, ...], Field(min_length=1)] = tuple(
        round(i / 100, 2) for i in range(100)
    )
    """Background thresholds of the threshold curve."""
    boundary_share: Annotated[Number, Field(gt=0.0, le=0.5)] = 0.02
    """Width of the band of boundary IoU, as a share of the photo's diagonal."""
    min_area: Fraction = 0.001
    """A photo shows a class if the network's mask has at least this share of it; for the rates of
    missed photos and false alarms."""
    crf: ComparedCrf = ComparedCrf()
    leave_out: str | None = None
    """Text file with ids of photos to leave out, such as those on which settings were chosen."""
    use_drawn: bool = False
    """Also score photos whose masks were drawn or accepted in corrections; drawn masks are ground
    truth where the data has none. The network learned from those of training photos."""


class Report(Section):
    """Step ``report``: an HTML page."""

    photos: Count = 6
    """Number of photos shown in each section."""
    title: str = "tag2mask"


class RuntimeSettings(Section):
    """Devices, processes and threads. They aren't part of a folder's identity."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Annotated[Integer, Field(ge=1, le=MOST_PROCESSES)] = 1
    workers: Annotated[Integer, Field(ge=0, le=MOST_PROCESSES)] | None = None
    """Number of processes that read photos for a training. 0: threads of the training read a batch
    between two steps; null: 2 with a GPU, else 0."""
    threads: Annotated[Integer, Field(ge=0, le=MOST_THREADS)] = 0
    """CPU threads of the network; 0: one per core."""
