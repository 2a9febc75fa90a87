"""Label photos with the network in this folder: ``python predict.py PHOTOS... --out DIR``.

Needs Python 3.11, numpy, Pillow and onnxruntime, but neither tag2mask nor torch. The masks are
those of ``tag2mask predict`` with the settings in ``model.onnx``, which ``record.json`` shows.
Photos are files, folders or patterns. ``--watch`` labels the photos of folders as they arrive,
until Ctrl-C or SIGTERM. ``--decisions`` also writes ``decisions.csv``. The same command resumes.
Exit codes: 0 done; 1 an error; 3 done, with some photos left out.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from PIL import Image

from tag2mask.segmentation.standalone.decisions import Decisions
from tag2mask.segmentation.standalone.files import (
    ANOTHER,
    MASKS,
    RECORD,
    Journal,
    Photo,
    arrivals,
    is_another,
    keep_earlier,
    list_photos,
    name_problem,
    reason,
    replaced,
    time_of,
    write_mask,
)
from tag2mask.segmentation.standalone.network import Network
from tag2mask.segmentation.standalone.photos import Size, read_photo

LARGE_PIXELS = 64_000_000
"""Photos with more pixels are labeled one at a time, and so are those in tiles."""
TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{12}\.(png|csv|json)")
"""Names of files that are being written."""


class LargePhotoError(Exception):
    """A photo that must be labeled alone."""


class Writer:
    """Labels photos and writes their masks, several at a time."""

    def __init__(self, network: Network, out: Path, threads: int, decisions: Decisions | None):
        self.left_out: dict[Path, Photo] = {}
        self.computed = 0
        self._network, self._out, self._threads = network, out, threads
        self._decisions = decisions
        self._journal = Journal(out / "items.jsonl")
        self._pool = ThreadPoolExecutor(threads)

    @property
    def written(self) -> int:
        """Number of photos with a mask, those of earlier calls included."""
        return len(self._journal.stamps)

    def write(self, photos: Sequence[Photo], stop: threading.Event, *, keep: bool) -> None:
        """Write the masks of photos that have none yet, until ``stop`` is set.

        With ``keep``, the earlier mask of a photo with other content is renamed, not replaced.
        """
        self._keep = keep
        stamps = dict(self._journal.stamps)
        due = []
        for photo in photos:
            if photo.problem:
                self._leave_out(photo, photo.problem)
            elif is_another(photo.stamp, stamps.get(photo.id, photo.stamp)):
                self._leave_out(photo, ANOTHER)
            elif photo.stamp != stamps.get(photo.id) or not self._mask(photo).is_file():
                due.append(photo)
                stamps[photo.id] = photo.stamp
        large = []
        for first in range(0, len(due), 2 * self._threads):
            block = [] if stop.is_set() else due[first : first + 2 * self._threads]
            for photo, problem in zip(block, self._pool.map(self._small, block), strict=True):
                if problem == "large":
                    large.append(photo)
                else:
                    self._finish(photo, problem)
        for photo in large:
            if not stop.is_set():
                self._finish(photo, self._label(photo, self._pool))
        if self._decisions is not None:
            self._decisions.write_groups()

    def _mask(self, photo: Photo) -> Path:
        return self._out / MASKS / f"{photo.id}.png"

    def _leave_out(self, photo: Photo, reason: str) -> None:
        print(f"left out: {photo.id!r}: {reason}", file=sys.stderr, flush=True)
        self.left_out[photo.path] = photo

    def _finish(self, photo: Photo, problem: str) -> None:
        if problem:
            self._leave_out(photo, problem)
        else:
            self._journal.record(photo)
            self.left_out.pop(photo.path, None)
            self.computed += 1

    def _small(self, photo: Photo) -> str:
        try:
            return self._label(photo, None)
        except LargePhotoError:
            return "large"

    def _label(self, photo: Photo, pool: ThreadPoolExecutor | None) -> str:
        """Label and write a photo; return why it is left out.

        While watching, an error of the network is such a reason, too: it ends no watch.
        """

        def needed(size: Size) -> int:
            if pool is None and (size[0] * size[1] > LARGE_PIXELS or self._network.is_tiled(size)):
                raise LargePhotoError
            return self._network.needed(size)

        try:
            image, size = read_photo(photo.path, needed)
        except LargePhotoError:
            raise
        except Exception as error:  # Pillow's decoders raise any
            return reason(error)
        try:
            found = self._network.label(image, size, pool, self._decisions is not None)
        except Exception as error:  # onnxruntime's have no class in common
            if not self._keep:
                raise
            return reason(error)
        mask = self._mask(photo)
        try:
            if self._keep and photo.id in self._journal.stamps:
                keep_earlier(mask)
            write_mask(mask, found.labels, self._network.record["colors"])
        except OSError as error:
            if problem := name_problem(error):
                return problem
            raise
        if self._decisions is not None:
            assert found.confidence is not None
            self._decisions.add(photo.id, time_of(mask), found.labels, found.confidence)
        return ""


def watch(writer: Writer, folders: Sequence[str], out: Path, seconds: float) -> None:
    """Label the photos of folders once they are unchanged for a while, until a signal ends it."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print(f"watching {', '.join(folders)}; Ctrl-C or SIGTERM ends it", flush=True)
    for photos in arrivals(folders, out, seconds, stop):
        writer.write([p for p in photos if writer.left_out.get(p.path) != p], stop, keep=True)


def check_folder(out: Path, model: Path, decisions: bool) -> None:
    """Create the folder of masks; one of another network or without decisions is an error."""
    wanted = {
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
        "decisions": decisions,
    }
    record, text = out / RECORD, json.dumps(wanted) + "\n"
    if record.is_file() and record.read_bytes() != text.encode():
        raise ValueError(
            f"{out} was made with another model.onnx or --decisions; give another --out"
        )
    if not record.is_file() and (out / "items.jsonl").is_file():
        raise ValueError(f"{out} was not made by this program; give another --out")
    with replaced(record) as temporary:
        temporary.write_bytes(text.encode())
    remove_left_over(out)


def remove_left_over(out: Path) -> None:
    """Remove the temporary files of killed calls, after the record was written.

    Another process may be writing: only those that nobody has written to for an hour before that,
    by the clock of the file system.
    """
    now = (out / RECORD).stat().st_mtime
    for file in (*out.glob(".tmp-*"), *(out / MASKS).rglob(".tmp-*")):
        with suppress(OSError):
            if TEMPORARY.fullmatch(file.name) and now - file.stat().st_mtime > 3600:
                file.unlink()


def run(arguments: Sequence[str] | None = None) -> int:
    """Label the photos of the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("photos", nargs="+", help="files, folders or patterns")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--watch", action="store_true", help="label photos as they arrive")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between looks (--watch)")
    parser.add_argument("--decisions", action="store_true", help="write decisions.csv")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the encoding of a pipe lacks, as on Windows, must not end finished work.
        sys.stdout.reconfigure(errors="backslashreplace")
    Image.MAX_IMAGE_PIXELS = None  # read_photo has a limit of its own, that of tag2mask
    model = Path(__file__).with_name("model.onnx")
    out = Path(os.path.abspath(given.out))  # noqa: PTH100 - resolve() follows links
    network = Network(model)
    rule = network.record.get("decisions")
    if given.decisions and rule is None:
        raise ValueError("model.onnx has no decision rule; export it with --miss-rate")
    photos = [] if given.watch else list_photos(given.photos, out)
    if not photos and not given.watch:
        raise FileNotFoundError(f"no photo in {', '.join(given.photos)}")
    check_folder(out, model, given.decisions)
    decisions = Decisions(out, network.record["classes"], rule) if given.decisions else None
    writer = Writer(network, out, min(max(1, given.threads), 8), decisions)
    if given.watch:
        watch(writer, given.photos, out, given.every)
    else:
        writer.write(photos, threading.Event(), keep=False)
    print(f"predict: {out} ({writer.written} photos, {writer.computed} computed)")
    return 3 if writer.left_out else 0


if __name__ == "__main__":
    try:
        sys.exit(run())
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command resumes")
    except Exception as error:
        sys.exit(f"error: {error}")
