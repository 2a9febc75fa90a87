"""Small step folders for tests of the steps that read maps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from tag2mask.artifacts.handles import CamMaps, PreparedData
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import (
    MaskRow,
    Sample,
    photos_fingerprint,
    write_index,
    write_mask_rows,
    write_source,
)
from tag2mask.files.json_file import write_json
from tag2mask.maps.cam_map import CamMap, write_map
from tag2mask.runtime.session import Runtime

NAMES = ("cat", "dog", "bird")
PATIENCE = 120.0
"""Longest time to wait for the slowest rank, s; a failing rank ends the wait at once."""


class OneRank:
    """A runtime of one process."""

    rank = 0
    world_size = 1

    def shard(self, items):
        return list(items[self.rank :: self.world_size])

    def barrier(self) -> None:
        pass

    def all_gather_object(self, value):
        return [value]

    gather_results = Runtime.gather_results

    @contextmanager
    def progress(self, total, description, *, done=0, only_if_long=False):
        yield SimpleNamespace(advance=lambda count=1, figures="": None)


class ThreadRank(OneRank):
    """One of several ranks that are threads of this process."""

    def __init__(self, rank: int, barrier: threading.Barrier, board: list[Any]) -> None:
        self.rank, self.world_size = rank, barrier.parties
        self._barrier, self._board = barrier, board

    def barrier(self) -> None:
        self._barrier.wait(PATIENCE)

    def all_gather_object(self, value):
        self._board[self.rank] = value
        self._barrier.wait(PATIENCE)
        gathered = list(self._board)
        self._barrier.wait(PATIENCE)
        return gathered


def run_on_ranks(step: Callable[[OneRank], Any], ranks: int) -> list[Any]:
    """Run a step on several ranks at once and return the result of each."""
    barrier, board, results = threading.Barrier(ranks), [None] * ranks, [None] * ranks
    errors = []

    def one(rank: int) -> None:
        try:
            results[rank] = step(ThreadRank(rank, barrier, board))
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


@dataclass
class Scene:
    """A prepared folder with photos of blurred discs, their maps, and their masks."""

    root: Path
    samples: dict[str, list[Sample]]
    truths: dict[str, np.ndarray]
    masked: set[str]
    data: PreparedData | None = None
    maps: CamMaps | None = None

    def write(self, skipped: tuple[str, ...] = ()) -> None:
        """(Re)write the prepared index and the maps' manifest."""
        photos = self.root / "photos"
        photos.mkdir(exist_ok=True)
        rows = []
        for id, truth in self.truths.items():
            if id in self.masked:
                path = photos / f"{id}.png"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(truth).save(path)
                rows.append(MaskRow(id, f"{id}.png", False, "1"))
        folder = self.root / "prepare"
        known = photos_fingerprint(self.samples)
        self._finish(PreparedData, folder, {"photos": known, "masks": str(rows)}, {}, ())
        for split, samples in self.samples.items():
            write_index(folder, split, samples, photos)
        write_mask_rows(folder, rows)
        write_source(folder, "csv", photos)
        write_json(folder / "classes.json", {"names": NAMES})
        self.data = PreparedData.open(folder)
        self._finish(
            CamMaps,
            self.root / "infer-cam",
            {"photos": known, "left out": str(skipped)},
            {"tags": "known", "classes": NAMES},
            skipped,
        )
        self.maps = CamMaps.open(self.root / "infer-cam")

    def map_path(self, id: str) -> Path:
        return self.root / "infer-cam" / "maps" / f"{id}.npz"

    @staticmethod
    def _finish(kind, folder, coverage, metrics, skipped):
        with step_folder(kind, folder, section={}, coverage=coverage) as step:
            if not step.complete:
                step.finish(metrics=metrics, skipped=skipped)


def disc_photo(rng: np.random.Generator, tags: tuple[int, ...], size: tuple[int, int]):
    """Return ground truth with one disc per tag and a void ring, and blurred maps of it."""
    y, x = np.mgrid[: size[0], : size[1]]
    truth = np.zeros(size, np.uint8)
    maps = []
    for place, tag in enumerate(tags):
        center = (size[0] / 2, size[1] * (place + 0.5) / len(tags))
        distance = np.hypot(y - center[0], x - center[1]) - rng.uniform(5, 9)
        truth[distance < 0] = tag + 1
        truth[(distance >= 0) & (distance < 1)] = 255
        blurred = 1 / (1 + np.exp(distance / 3)) + 0.1 * rng.random(size)
        maps.append((blurred - blurred.min()) / (blurred.max() - blurred.min()))
    scores = np.array(maps, np.float32).reshape(len(tags), *size)
    return truth, scores[:, ::2, ::2]


def discs(root: Path) -> Scene:
    """8 training and 3 validation photos of several sizes, one untagged, one not masked."""
    rng = np.random.default_rng(0)
    samples: dict[str, list[Sample]] = {"train": [], "val": []}
    truths, maps = {}, []
    tags = [(0,), (1,), (0, 2), (), (2,), (1, 2), (0,), (1,), (0,), (1,), (1, 2)]
    for index, photo_tags in enumerate(tags):
        split = "train" if index < 8 else "val"
        id = f"{split}/{index}"
        size = (40, 56) if index % 2 else (48, 40)
        truths[id], scores = disc_photo(rng, photo_tags, size)
        probabilities = np.full(len(NAMES), 0.1, np.float32)
        probabilities[list(photo_tags)] = 0.9
        sample = Sample(id, root / "photos" / f"{id}.jpg", size, photo_tags, "1-1")
        samples[split].append(sample)
        maps.append(CamMap(id, photo_tags, scores, size, probabilities))
    made = Scene(root, samples, truths, set(truths) - {"train/7"})
    made.write()
    for cam_map in maps:
        made.map_path(cam_map.id).parent.mkdir(parents=True, exist_ok=True)
        write_map(made.map_path(cam_map.id), cam_map)
    return made
