"""What each step has to compute at least: its network or its CRF alone, with images in memory.

Each function returns a callable to be timed. Trainings: forward and backward pass on one batch of
crops, without losses, optimizer and photos. Photos: the forward pass of the views that the step
takes of them, one photo per thread, and the dense CRFs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tag2mask.affinity.inference import AffinityInference
from tag2mask.affinity.network import build_affinity_net
from tag2mask.artifacts.handles import AffinityLabels, AffinityModel, CamModel
from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.crf.dense_crf import CrfSettings, DenseCrf
from tag2mask.data.images import read_image
from tag2mask.data.index import Sample
from tag2mask.maps.background_threshold import with_background
from tag2mask.maps.cam_map import read_map
from tag2mask.nn.inference_copy import inference_copy
from tag2mask.recipe.maps_to_masks import AffinityLabeling, Walk
from tag2mask.recipe.sections import InferCam
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.recipe.training import TrainAffinity, TrainCam
from tag2mask.runtime.precision import Precision, autocast
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import ordered_map
from tag2mask.runtime.torch_threads import share_of_threads
from tag2mask.seam.model import build_seam, load_seam
from tag2mask.seam.multi_scale_inference import MultiScaleInference
from tag2mask.seam.transform import ViewTransform
from tag2mask.segmentation.networks import build_segmenter
from tag2mask.steps.infer_cam import inference_settings
from tag2mask.steps.train_affinity import affinity_spec
from tag2mask.steps.train_cam import net_spec
from tag2mask.steps.trainers.cam_task import ViewDraw
from tag2mask.steps.trainers.segmenter_task import segmenter_spec
from tag2mask.steps.walk import walk_inference
from tag2mask.training.optim import freeze, train_mode

T = TypeVar("T")

Net = TypeVar("Net", bound=nn.Module)
Forward = Callable[[Tensor], Tensor]

CPU = torch.device("cpu")
LAYOUT = torch.channels_last
CLASSES = ClassSet(VOC_NAMES)


def unchanged(forward: Forward) -> Forward:
    """Return the forward pass of a network as it is."""
    return forward


def cam_step(
    section: TrainCam, device: torch.device = CPU, faster: Callable[[Forward], Forward] = unchanged
) -> Callable[[], None]:
    """Return forward and backward pass of the backbone on the views of a batch.

    Args:
        section: settings.
        device: where to run.
        faster: compiles the forward pass.
    """
    net = build_seam(net_spec(section, CLASSES), weights=section.backbone.weights)
    freeze(net, net.backbone.frozen(), batch_norm=section.freeze_batch_norm)
    train_mode(net, freeze_batch_norm=section.freeze_batch_norm)
    backbone = _on(net, device).backbone
    forward = faster(lambda image: backbone(image).last)
    drawn, steps = ViewDraw(section.views, section.seed), iter(range(2**31))
    image_of = cache(lambda height, width: _images(section.batch_size, height, width, device))
    image = image_of(section.crop, section.crop)

    def views() -> list[Tensor]:
        if not section.views.enabled:
            return [image]
        transform = drawn.at(next(steps))
        assert isinstance(transform, ViewTransform)
        second = transform.output_size(section.crop, section.crop)
        return [image, image_of(*second)]

    return _step(net, section.precision, lambda: [forward(view) for view in views()], device)


def affinity_step(section: TrainAffinity) -> Callable[[], None]:
    """Return forward and backward pass of AffinityNet's embeddings."""
    net = build_affinity_net(affinity_spec(section), weights=section.backbone.weights)
    freeze(net, net.backbone.frozen(), batch_norm=section.freeze_batch_norm)
    train_mode(net, freeze_batch_norm=section.freeze_batch_norm)
    net = net.to(memory_format=torch.channels_last)
    image = _images(section.batch_size, section.crop, section.crop)
    valid = torch.ones(section.batch_size, section.crop, section.crop, dtype=torch.bool)
    return _step(net, section.precision, lambda: [net.embed(image, valid)])


def encoder_weights(section: TrainSegmenter) -> str:
    """Return weights of the encoder; ImageNet's where it would start from a trained CAM network."""
    return "packaged" if section.starts_from_cam else section.network.weights


def segmenter_step(
    section: TrainSegmenter,
    device: torch.device = CPU,
    faster: Callable[[Forward], Forward] = unchanged,
) -> Callable[[], None]:
    """Return forward and backward pass of the segmentation network, up to its logits.

    Args:
        section: settings.
        device: where to run.
        faster: compiles the forward pass.
    """
    net = build_segmenter(segmenter_spec(section, CLASSES), weights=encoder_weights(section))
    assert isinstance(net.backbone, nn.Module)
    freeze(net.backbone, net.frozen(section.freeze_stride), batch_norm=section.freeze_batch_norm)
    net = _on(net, device).train()
    train_mode(net.backbone, freeze_batch_norm=section.freeze_batch_norm)
    image = _images(section.batch_size, section.crop, section.crop, device)
    forward = faster(lambda image: net.logits_at(image, section.loss_stride))
    return _step(net, section.precision, lambda: [forward(image)], device)


def cam_forward(
    model: CamModel, section: InferCam, samples: Sequence[Sample]
) -> Callable[[], None]:
    """Return the CAM network's forward pass of all views of photos."""
    net = inference_copy(load_seam(model.file)[0], CPU)
    views = MultiScaleInference(net, inference_settings(net, section), CPU).views
    batches = []
    for sample in samples:
        tags = torch.zeros(1, net.num_classes)
        tags[0, list(sample.tags)] = 1.0
        photo = read_image(sample.image)
        batches.append(
            [
                (batch.images, tags.expand(len(batch.images), -1))
                for batch in views.batches([photo], [sample.size], section.scales)
            ]
        )

    def one(photo: list[tuple[Tensor, Tensor]]) -> None:
        for images, tags in photo:
            net(images, tags=tags, own_grid=True, pool_on_grid=True)

    return _photo_by_photo(one, batches, section.precision)


def affinity_forward(
    model: AffinityModel, section: Walk, samples: Sequence[Sample]
) -> Callable[[], None]:
    """Return the forward pass of AffinityNet's embeddings of photos."""
    inference = walk_inference(model, section, Runtime.start(device="cpu"))
    assert isinstance(inference, AffinityInference)
    images = []
    for sample in samples:
        height, width = inference.input.view_size(sample.size, 1.0)
        images.append(_images(1, height, width))

    return _photo_by_photo(lambda image: inference.net.embed(image), images, section.precision)


def crfs(
    run: Path, labels: AffinityLabels, section: AffinityLabeling, samples: Sequence[Sample]
) -> Callable[[], None]:
    """Return the dense CRFs of ``affinity-labels``: kernels of each photo, and two inferences."""
    settings = CrfSettings(**section.crf.model_dump())
    inputs = []
    for sample in samples:
        cam_map = read_map(run / "infer-cam" / "maps" / f"{sample.id}.npz")
        if cam_map.tags:
            scores = cam_map.full_scores()
            maps = [with_background(scores, a) for a in labels.manifest.metrics["alphas"]]
            inputs.append((np.asarray(read_image(sample.image)), maps))

    def one(photo: tuple[NDArray[np.uint8], list[NDArray[np.float32]]]) -> None:
        image, maps = photo
        crf = DenseCrf(image, settings, threads=1)
        for scores in maps:
            crf.refine(scores)

    def all_photos() -> None:
        for _ in ordered_map(one, inputs):
            pass

    return all_photos


def _on(net: Net, device: torch.device) -> Net:
    """Return a network on a device, in the memory order of a training."""
    moved: Net = net.to(device, memory_format=LAYOUT)  # type: ignore[call-overload]
    return moved


def _images(batch: int, height: int, width: int, device: torch.device = CPU) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, height, width, generator=generator)
    return images.to(device, memory_format=LAYOUT)


def _step(
    net: nn.Module,
    precision: Precision,
    outputs: Callable[[], list[Tensor]],
    device: torch.device = CPU,
) -> Callable[[], None]:
    """Return forward and backward pass in the precision of a training."""

    def step() -> None:
        with autocast(precision, device):
            found = outputs()
        loss = torch.stack([output.float().mean() for output in found]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        net.zero_grad(set_to_none=True)

    return step


def _photo_by_photo(
    work: Callable[[T], object], photos: Sequence[T], precision: Precision
) -> Callable[[], None]:
    """Return a function that does the work for all photos, one photo per thread."""
    runtime = Runtime.start(device="cpu")
    threads = torch.get_num_threads()

    def one(photo: T) -> None:
        sharing = share_of_threads(threads, threads)
        with sharing, torch.inference_mode(), runtime.autocast(precision):
            work(photo)

    def all_photos() -> None:
        for _ in ordered_map(one, photos, threads):
            pass

    return all_photos
