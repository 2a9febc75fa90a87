"""The copy of corrections in ``prepare/``, when the process that makes it is killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from small_runs import environment
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import corrections_of, read_corrections
from tag2mask.data.corrections.writing import open_corrections

CLASSES = ClassSet(("cat", "dog"))
COPIER = """
import sys
import time
from pathlib import Path
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.folder import copy_corrections, read_corrections
first, second, copy = map(Path, sys.argv[1:])
while True:
    for folder in (first, second):
        copy_corrections(read_corrections(folder), copy, ClassSet(("cat", "dog")))
        print("copied", flush=True)
"""


def make_corrections(folder: Path, *, value: int, photos: int) -> None:
    with open_corrections(folder, CLASSES) as writer:
        for number in range(photos):
            mask = np.full((3, 4), value, np.uint8)
            writer.write(Decision(f"photo-{number}", "corrected", origin="review"), mask)


def test_a_killed_copy_is_the_earlier_one_or_the_new_one(tmp_path: Path) -> None:
    first, second, copy = tmp_path / "first", tmp_path / "second", tmp_path / "run" / "corrections"
    make_corrections(first, value=1, photos=5)
    make_corrections(second, value=2, photos=8)
    whole = {read_corrections(folder).fingerprint() for folder in (first, second)}
    moments = random.Random(0)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", COPIER, first, second, copy],
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert corrections_of(copy.parent).fingerprint() in whole
