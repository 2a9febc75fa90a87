"""Step ``train-cam``: learn class activation maps from image-level tags, Siamese (SEAM) or plain.

Reads photos and tags, never a mask. Writes ``model.safetensors``, ``losses.csv``, ``tensorboard/``
and ``pictures/``, and ``checkpoint.pt`` until it is finished (with several ``starts`` also
``features/``, and no pictures). A plain CAM that the training starts
from has a folder of the same kind, by default the subfolder ``warm-start/``. Photos skipped during
training are recorded in the folder's item journal, so that a resumed training still lists them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import torch

from tag2mask.artifacts.handles import MODEL_FILE, CamModel, PreparedData
from tag2mask.artifacts.identity import file_input
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample, read_classes, read_index
from tag2mask.errors import DataError, FolderInUseError, WeightsError, in_section
from tag2mask.files.atomic import atomic_write
from tag2mask.nn.backbones.build import found_stride
from tag2mask.nn.class_matching import (
    ClassMatch,
    Trained,
    architecture_error,
    load_trained,
    match_classes,
)
from tag2mask.nn.model_file import read_spec
from tag2mask.recipe.training import TrainCam, weight_file
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.session import Runtime
from tag2mask.seam.model import SEAM_KIND, SeamSpec, build_seam, load_seam, save_seam
from tag2mask.seam.network import SeamNet
from tag2mask.steps.trainers.cam_parts import check_parts
from tag2mask.steps.trainers.cam_starts import train_starts
from tag2mask.steps.trainers.cam_task import CamTask, cam_optimizer
from tag2mask.steps.trainers.training import class_warnings, finish_training, import_network
from tag2mask.training.loop import fit

WARM_START = "warm-start"
"""Subfolder of the plain CAM that a training starts from."""
WAIT_SECONDS = 2.0
"""Time between two checks of a folder in which another process works, s."""


def train_cam(
    data: PreparedData, section: TrainCam, out: Path, runtime: Runtime, start: Path | None = None
) -> CamModel:
    """Train the CAM network.

    Args:
        data: photos and tags.
        section: settings.
        out: folder to write; a partial one of the same settings is resumed from its checkpoint.
        runtime: where to run.
        start: folder of the plain CAM that ``warm_start`` asks for; it is trained unless complete.
            Trainings with other settings may share it. None: a subfolder of ``out``.

    Raises:
        DataError: no training photo has a tag; a photo can't be read (unless ``skip_bad``).
        RecipeError: batches too small for the devices.
        WeightsError: the weights or the checkpoint can't be used; ``init_from`` is of another
            architecture.
        PartError: a part of the user's own can't be used.
        DeviceError: out of memory, on the device or where photos are read.
        RunFolderError: ``out`` was made with other settings or data.
    """
    with _folder(data, section, out, runtime) as step:
        if step.complete:
            return step.handle
        samples = _tagged(data)
        skipped_before: tuple[str, ...] = ()
        if section.warm_epochs:
            plain_cam = _plain_cam(
                data,
                samples,
                section.plain_start(),
                start or out / WARM_START,
                runtime,
                shared=start is not None,
            )
            skipped_before = plain_cam.manifest.skipped
            section = section.model_copy(update={"init_from": str(plain_cam.file)})
        return _train(
            data, samples, section, runtime, step, name="train-cam", skipped_before=skipped_before
        )


def _plain_cam(
    data: PreparedData,
    samples: list[Sample],
    section: TrainCam,
    out: Path,
    runtime: Runtime,
    *,
    shared: bool,
) -> CamModel:
    """Train the plain CAM, or wait for the process that trains it; return its folder."""
    name = "train-cam, warm start"
    waiting: ProgressBar | None = None
    with ExitStack() as stack:
        while True:
            try:
                with _folder(data, section, out, runtime) as step:
                    if step.complete:
                        return step.handle
                    return _train(data, samples, section, runtime, step, name=name)
            except FolderInUseError:
                # The other ranks would not wait.
                if not shared or runtime.world_size > 1:
                    raise
            if waiting is None:
                waiting = stack.enter_context(
                    runtime.progress(1, f"{name}, trained by another process")
                )
            waiting.advance(0)
            time.sleep(WAIT_SECONDS)


def _folder(
    data: PreparedData, section: TrainCam, out: Path, runtime: Runtime
) -> AbstractContextManager[Step[CamModel]]:
    return step_folder(
        CamModel,
        out,
        section=section,
        inputs={"data": data, **_weight_files(section, out)},
        rank=runtime.rank,
    )


def _tagged(data: PreparedData) -> list[Sample]:
    """Return the training photos, of which at least one must have a tag."""
    samples = read_index(data.path, "train")
    if not any(sample.tags for sample in samples):
        raise DataError(
            "no training photo has a tag",
            where=data.path,
            fix="Check the tag table and the training split.",
        )
    return samples


def _train(
    data: PreparedData,
    samples: list[Sample],
    section: TrainCam,
    runtime: Runtime,
    step: Step[CamModel],
    *,
    name: str,
    skipped_before: Sequence[str] = (),
) -> CamModel:
    """Train and write a network; the CAM that it starts from skipped ``skipped_before``."""
    with runtime.seeded(section.seed):
        with in_section("train_cam"):
            spec = net_spec(section, read_classes(data.path))
            net = build_seam(
                spec,
                weights="none" if section.init_from else section.backbone.weights,
                modules=section.modules().values(),
            )
            check_parts(section, net)
        if section.backbone.output_stride == "auto":
            runtime.note(f"{spec.backbone}: output stride {spec.output_stride}")
        match = None if section.init_from is None else start_from(net, spec, section.init_from)
        if section.starts > 1:
            lost, metrics = train_starts(net, spec, samples, section, runtime, step, name=name)
        else:
            task = CamTask(net, spec, samples, section, runtime, step)
            optimizer = cam_optimizer(task.module, section)
            summary = fit(task, optimizer, task.settings, step.path, runtime, name=name)
            lost, metrics = task.skipped.lines(), {"steps": task.settings.steps, **summary}
    skipped = tuple(dict.fromkeys([*skipped_before, *lost]))
    if runtime.rank == 0:
        with atomic_write(step.path / MODEL_FILE) as temporary:
            save_seam(temporary, net, spec)
    return finish_training(
        step,
        runtime,
        counts={"photos": len(samples) - len(skipped)},
        metrics={**metrics, **class_warnings(match, "train_cam.init_from")},
        skipped=skipped,
    )


def import_model(file: Path, out: Path, *, modules: Collection[str] = ()) -> CamModel:
    """Make a ``train-cam`` folder of a model trained elsewhere, such as ``resnet38_SEAM.pth``.

    Args:
        file: the model.
        out: folder to write.
        modules: as in `tag2mask.seam.model.load_seam`.

    Raises:
        WeightsError: the file is not a known CAM model, or is cut off.
        PartError: the model names a part that is not in ``modules``, or that can't be used.
    """
    net, spec = load_seam(
        file, modules=modules
    )  # before a folder is opened: a bad file leaves nothing behind
    return import_network(CamModel, file, out, lambda path: save_seam(path, net, spec))


def model_modules(file: Path) -> tuple[str, ...]:
    """Return the parts of a user's own that a model file names; nothing is imported.

    Raises:
        WeightsError: not a model file, or cut off.
    """
    return _own_part(read_spec(file, SEAM_KIND)) if file.suffix == ".safetensors" else ()


def _weight_files(section: TrainCam, out: Path) -> dict[str, str]:
    """Return the digest of the file that training starts from, if any, by its recipe key."""
    if section.init_from:
        return file_input("init_from", Path(section.init_from), out)
    file = weight_file(section.backbone.weights)
    return {} if file is None else file_input("backbone.weights", file, out)


def net_spec(section: TrainCam, classes: ClassSet) -> SeamSpec:
    """Return the specification of the network that a section describes."""
    return SeamSpec(
        classes=classes.names,
        backbone=section.backbone.name,
        output_stride=found_stride(
            section.backbone.name,
            section.backbone.output_stride,
            truncated=section.truncate_backbone,
        ),
        pcm_levels=section.backbone.pcm_levels,
        truncated=section.truncate_backbone,
        pcm=section.pcm.enabled,
        pcm_channels=section.pcm.channels,
        pcm_finest=section.pcm.stride == "finest",
        pcm_power=section.pcm.power,
        block_mib=section.pcm.block_mib,
        dropout=section.dropout,
        pooling=section.pooling,
        centered=section.pooling != "avg",
        head=section.head,
        mdc_rates=section.mdc_rates,
        mdc_channels=section.mdc_channels,
        pcm_module=section.pcm.module if section.pcm.enabled else None,
        pcm_options=section.pcm.options if section.pcm.enabled else {},
    )


ARCHITECTURE = (
    "backbone",
    "truncated",
    "head",
    "pcm_levels",
    "pcm_channels",
    "pcm_module",
    "pcm_options",
    "centered",
    "mdc_rates",
    "mdc_channels",
)
"""Fields of a specification that decide which weights fit."""


def check_start_model(section: TrainCam, classes: Sequence[str]) -> None:
    """Check that training can start from the model that ``init_from`` names.

    Raises:
        WeightsError: it is missing, damaged, no CAM model or of another architecture.
    """
    if section.init_from is None:
        return
    with torch.random.fork_rng(devices=[]), in_section("train_cam"):
        spec = net_spec(section, ClassSet(tuple(classes)))
        net = build_seam(spec, modules=section.modules().values())
        start_from(net, spec, section.init_from)


def start_from(net: SeamNet, spec: SeamSpec, file: str) -> ClassMatch:
    """Load the weights of a trained CAM model, which may lack PCM and know other classes.

    Returns:
        Which classes it knows.

    Raises:
        WeightsError: see `check_start_model`.
    """
    _check_same_part(spec, Path(file))
    trained, trained_spec = load_seam(Path(file), modules=_own_part(spec))
    try:
        load_trained(
            net,
            net.class_layers(),
            spec.classes,
            Trained(trained.state_dict(), trained_spec.classes, file),
            allow_missing=_lacking(trained_spec),
            allow_unexpected=() if spec.pcm else ("pcm.",),
        )
    except WeightsError as error:
        raise architecture_error(
            error, spec, trained_spec, setting="train_cam.init_from", fields=ARCHITECTURE
        ) from None
    return match_classes(spec.classes, trained_spec.classes)


def _lacking(trained: SeamSpec) -> tuple[str, ...]:
    """Return the beginnings of names of tensors that a trained network may lack."""
    return (
        *(() if trained.pcm else ("pcm.",)),
        *(() if trained.centered else ("head_norm.", "head.bias")),
    )


def _check_same_part(spec: SeamSpec, file: Path) -> None:
    named = model_modules(file)
    if named and named != _own_part(spec):
        raise WeightsError(
            f"train_cam.init_from has the part {named[0]} in place of PCM",
            where=file,
            fix=f"Set train_cam.pcm.module={named[0]}, or start from another network.",
        )


def _own_part(spec: SeamSpec) -> tuple[str, ...]:
    return () if spec.pcm_module is None else (spec.pcm_module,)
