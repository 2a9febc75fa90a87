"""Watched folders, in this process; see `tests/segmentation/standalone/test_watch.py` for more."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from watching import put

from local_segmenter import LocalSegmenter
from tag2mask.recipe.sections import Predict
from tag2mask.steps.photo_loops.watch import watch


class StopAfter(Event):
    """Is set after some looks at the folders."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def wait(self, timeout: float | None = None) -> bool:
        self.looks -= 1
        if self.looks == 0:
            self.set()
        return self.is_set()


def test_an_unreadable_photo_is_reported_once_whatever_its_name(tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", 1)
    put(tmp_path / "in/whole.jpg", 2)
    content = (tmp_path / "in/whole.jpg").read_bytes()
    (tmp_path / "in/cut: off: a.jpg").write_bytes(content[: len(content) // 2])
    told: list[str] = []
    done = watch(
        [str(tmp_path / "in")],
        LocalSegmenter(),
        Predict(),
        tmp_path / "out",
        model="local",
        stop=StopAfter(6),
        seconds=0,
        on_skipped=told.append,
    )
    (line,) = done.manifest.skipped
    assert line.startswith("cut: off: a: photo can't be read") and told == [line]
    assert done.manifest.counts == {"photos": 2, "computed": 2}
