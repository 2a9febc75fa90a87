"""The rows: what each measures, what is divided by what, and on which network and device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch

from benchmarks import (
    affinity_labels,
    crf,
    disk_per_photo,
    export_masks,
    file_to_mask,
    growth,
    inference_views,
    pcm_memory,
    predict_photos,
    prepare_time,
    run_memory,
    run_steps,
    start_up,
    steps_vs_networks,
    threshold_curve,
    train_steps,
    two_threads,
    walk,
)
from benchmarks.measure import Row
from tag2mask.runtime.precision import resolve_precision

LITE0 = "EfficientNet-Lite0"
DEEPLAB = "DeepLabV3+ on EfficientNet-Lite0"
NAMES = {torch.float32: "float32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class Benchmark(NamedTuple):
    """One row of the table.

    Attributes:
        measure: returns the row, or why it can't be measured here.
        what: what is divided by what.
        network: the network that runs; None: no network.
        precision: of both sides; ``auto``: the device's fastest; ``ours auto``: ours the fastest,
            the other float32.
        any_device: whether a GPU is used if there is one.
        threads: of our side; None: all of torch's.
    """

    measure: Callable[..., Row | str]
    what: str
    network: str | None = None
    precision: Literal["float32", "auto", "ours auto"] = "float32"
    any_device: bool = False
    threads: int | None = None

    def settings(self) -> dict[str, str | int | None]:
        """Return network, precision, device and threads, as written next to the row's figures."""
        device = torch.device("cuda" if self.any_device and torch.cuda.is_available() else "cpu")
        fastest = NAMES[resolve_precision("auto", device)]
        precision = {"float32": "float32", "auto": fastest, "ours auto": f"{fastest} / float32"}
        return {
            "network": self.network,
            "precision": precision[self.precision],
            "device": device.type,
            "threads": self.threads or torch.get_num_threads(),
        }


_on_lite0 = partial(Benchmark, network=LITE0, precision="auto")
_one_thread = partial(Benchmark, threads=1)
_run = partial(Benchmark, network=f"{LITE0}, {DEEPLAB}", precision="auto")

_FILE_TO_MASK = {
    f"file_to_mask_{megapixels.replace('.', '_')}mp_{threads}_threads": Benchmark(
        partial(file_to_mask.milliseconds, megapixels, threads),
        f"ONNX / torch, a photo of {megapixels} megapixels",
        DEEPLAB,
        threads=threads,
    )
    for megapixels in file_to_mask.SIZES
    for threads in (1, 2)
}
BENCHMARKS: dict[str, Benchmark] = {
    "train_step_seam_vs_cam": _on_lite0(train_steps.seam_vs_cam, "SEAM step / CAM step"),
    "train_step_vs_published": Benchmark(
        train_steps.vs_published, "our step / published step", LITE0, "ours auto"
    ),
    "train_step_vs_published_float32": Benchmark(
        train_steps.vs_published_float32, "our step / published step, both float32", LITE0
    ),
    "train_cam_vs_raw_step": _on_lite0(
        steps_vs_networks.cam_step, "a step of train-cam / its backbone on both views"
    ),
    "train_affinity_vs_raw_step": _on_lite0(
        steps_vs_networks.affinity_step, "a step of train-affinity / its embeddings"
    ),
    "train_segmenter_vs_raw_step": Benchmark(
        steps_vs_networks.segmenter_step,
        "a step of train-segmenter / its network",
        DEEPLAB,
        "auto",
    ),
    "infer_cam_vs_forward": _on_lite0(
        steps_vs_networks.infer_cam_photos, "infer-cam / forward of the same views, per photo"
    ),
    "affinity_labels_vs_crf": Benchmark(
        steps_vs_networks.affinity_label_photos, "affinity-labels / its two CRFs, per photo"
    ),
    "walk_vs_forward": _on_lite0(
        steps_vs_networks.walked_photos, "walk / forward of the embeddings, per photo"
    ),
    "run_minutes_vs_networks": _run(
        steps_vs_networks.whole_run, "a whole run / the bare times of its steps"
    ),
    "inference_vs_single": Benchmark(
        inference_views.batched_vs_single,
        "batched views / one at a time",
        f"{LITE0}; on a GPU EfficientNet-Lite2",
        "auto",
        any_device=True,
    ),
    "threshold_curve_vs_passes": Benchmark(
        threshold_curve.one_pass_vs_passes, "one pass / 60 passes"
    ),
    "pcm_memory_vs_dense": Benchmark(pcm_memory.tiles_vs_dense, "PCM in tiles / at once, peak"),
    "walk_vs_dense": _one_thread(walk.vs_squared, "sparse walk / squaring the dense matrix"),
    "walk_vs_dense_steps": _one_thread(walk.vs_steps, "sparse walk / 64 steps of the dense matrix"),
    "crf_vs_pydensecrf_2": _one_thread(crf.vs_pydensecrf_2, "dense CRF, 2 classes / pydensecrf"),
    "crf_vs_pydensecrf_4": _one_thread(crf.vs_pydensecrf_4, "dense CRF, 4 classes / pydensecrf"),
    "crf_vs_pydensecrf_21": _one_thread(crf.vs_pydensecrf_21, "dense CRF, 21 classes / pydensecrf"),
    "crf_two_threads_vs_one": Benchmark(
        crf.two_threads_vs_one, "dense CRF, 2 threads / 1", threads=2
    ),
    "loop_in_cache_two_threads_vs_one": Benchmark(
        two_threads.loop_in_cache, "vector loop in a core's cache, 2 threads / 1", threads=2
    ),
    "loop_in_memory_two_threads_vs_one": Benchmark(
        two_threads.loop_in_memory, "vector loop in memory, 2 threads / 1", threads=2
    ),
    "affinity_labels_photos_per_second": Benchmark(
        affinity_labels.step_vs_plain_loop, "affinity-labels / plain loop, rates"
    ),
    "disk_maps_per_photo": _on_lite0(disk_per_photo.maps, "maps / float32 at the photo's size"),
    "disk_affinity_labels_per_photo": _on_lite0(
        disk_per_photo.affinity_labels, "labels / marginals of both CRFs"
    ),
    "disk_walked_maps_per_photo": _on_lite0(disk_per_photo.walked_maps, "walked maps / float32"),
    "disk_masks_per_photo": _on_lite0(disk_per_photo.masks, "masks / one byte per pixel"),
    "predict_vs_forward": Benchmark(
        predict_photos.vs_forward, "predict / the network's forward alone", DEEPLAB, "auto"
    ),
    "export_coco_photos_per_second": Benchmark(
        export_masks.coco_photos_per_second, "masks export --to coco / pycocotools' encode, rates"
    ),
    **_FILE_TO_MASK,
    "start_up_onnx": Benchmark(
        start_up.with_onnx, "predict of 4 small photos, ONNX / importing its libraries", DEEPLAB
    ),
    "start_up_torch": Benchmark(
        start_up.with_torch,
        "predict of 4 small photos, torch / importing its libraries",
        DEEPLAB,
        "auto",
    ),
    "onnx_vs_torch": Benchmark(
        predict_photos.onnx_vs_torch, "ONNX network / torch network", DEEPLAB
    ),
    **{name: _run(row, "of the whole run") for name, row in run_steps.STEP_ROWS.items()},
    "run_memory_vs_photos": Benchmark(
        run_memory.many_vs_quarter, "run of 1,000 photos / of 250, peak", "recipe tiny", "auto"
    ),
    "prepare_100k_seconds": Benchmark(
        prepare_time.prepare_100k, "prepare / plain loop, 100,000 photos"
    ),
    "prepare_vs_header_loop": Benchmark(
        prepare_time.prepare_vs_header_loop, "prepare / plain loop, 100,000 photos and masks"
    ),
    "data_check_vs_header_loop": Benchmark(
        prepare_time.data_check_vs_header_loop, "data check / plain loop, 100,000 photos and masks"
    ),
    **{
        name: Benchmark(row, "a photo of 10,000 / of 1,000, CPU time")
        for name, row in growth.TIME_ROWS.items()
    },
    **{
        name: Benchmark(row, "10,000 photos / 1,000, peak")
        for name, row in growth.MEMORY_ROWS.items()
    },
}
"""The rows by name, in the order in which they are measured."""
