"""Run the benchmarks: ``python -m benchmarks [names] [--out bench.json]``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import (
    affinity_labels,
    crf,
    disk_per_photo,
    inference_views,
    pcm_memory,
    predict_photos,
    prepare_time,
    run_memory,
    run_steps,
    threshold_curve,
    train_steps,
    two_threads,
    walk,
)
from benchmarks.measure import Row, commit, machine, versions

BENCHMARKS: dict[str, tuple[Callable[..., Row | str], str]] = {
    "train_step_seam_vs_cam": (train_steps.seam_vs_cam, "SEAM step / CAM step"),
    "train_step_vs_published": (train_steps.vs_published, "our step / published step"),
    "inference_vs_single": (inference_views.batched_vs_single, "batched views / one at a time"),
    "threshold_curve_vs_passes": (threshold_curve.one_pass_vs_passes, "one pass / 60 passes"),
    "pcm_memory_vs_dense": (pcm_memory.tiles_vs_dense, "PCM in tiles / at once, peak"),
    "walk_vs_dense": (walk.sparse_vs_dense, "sparse walk / squaring the dense matrix"),
    "crf_vs_pydensecrf_2": (crf.vs_pydensecrf_2, "dense CRF, 2 classes / pydensecrf"),
    "crf_vs_pydensecrf_4": (crf.vs_pydensecrf_4, "dense CRF, 4 classes / pydensecrf"),
    "crf_vs_pydensecrf_21": (crf.vs_pydensecrf_21, "dense CRF, 21 classes / pydensecrf"),
    "crf_two_threads_vs_one": (crf.two_threads_vs_one, "dense CRF, 2 threads / 1"),
    "loop_in_cache_two_threads_vs_one": (
        two_threads.loop_in_cache,
        "vector loop in a core's cache, 2 threads / 1",
    ),
    "loop_in_memory_two_threads_vs_one": (
        two_threads.loop_in_memory,
        "vector loop in memory, 2 threads / 1",
    ),
    "affinity_labels_photos_per_second": (
        affinity_labels.step_vs_plain_loop,
        "affinity-labels / plain loop, rates",
    ),
    "disk_maps_per_photo": (disk_per_photo.maps, "maps / float32 at the photo's size"),
    "disk_affinity_labels_per_photo": (
        disk_per_photo.affinity_labels,
        "labels / marginals of both CRFs",
    ),
    "disk_walked_maps_per_photo": (disk_per_photo.walked_maps, "walked maps / float32"),
    "disk_masks_per_photo": (disk_per_photo.masks, "masks / one byte per pixel"),
    "predict_vs_forward": (predict_photos.vs_forward, "predict / the network's forward alone"),
    "onnx_vs_torch": (predict_photos.onnx_vs_torch, "ONNX network / torch network, float32"),
    **{name: (row, "of the whole run") for name, row in run_steps.STEP_ROWS.items()},
    "run_memory_vs_photos": (run_memory.many_vs_quarter, "run of 1,000 photos / of 250, peak"),
    "prepare_100k_seconds": (prepare_time.prepare_100k, "prepare / plain loop, 100,000 photos"),
}
"""Row's name -> (function that measures it, or returns why it can't; what is divided by what)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks, print a table and write a JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument(
        "--toy", action="store_true", help="smallest sizes, once each: checks that they run"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    console = Console(stderr=True)
    report = {"machine": machine(), "versions": versions(), "commit": commit(), "toy": options.toy}
    rows: dict[str, Row] = {}
    for name in options.names or BENCHMARKS:
        with console.status(name):
            row = BENCHMARKS[name][0](toy=options.toy)
        if isinstance(row, str):
            console.print(f"{name} is left out: {row}")
            continue
        rows[name] = row
        options.out.write_text(
            json.dumps(
                {"rows": {key: row._asdict() for key, row in rows.items()}, **report}, indent=2
            )
            + "\n"
        )
    Console(width=None if Console().is_terminal else 120).print(_table(rows))
    print(f"written to {options.out}")


def _table(rows: dict[str, Row]) -> Table:
    table = Table("row", "what", "ratio", "ours", "other", "unit")
    for column in table.columns[2:5]:
        column.justify = "right"
    for name, row in rows.items():
        numbers = (f"{value:.3g}" for value in (row.ratio, row.ours, row.other))
        table.add_row(name, BENCHMARKS[name][1], *numbers, row.unit)
    return table


if __name__ == "__main__":
    main()
