"""The copy of corrections in ``prepare/``, when the process that makes it is killed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from data_folders import write_data

from small_runs import environment
from tag2mask.artifacts.replacement import put_back
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import copy_corrections, corrections_of, read_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.prepare_plan import list_data
from tag2mask.recipe.sections import Prepare

CLASSES = ClassSet(("cat", "dog"))
COPIER = """
import sys
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
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", COPIER, first, second, copy],
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        for _ in range(moments.randint(1, 9)):
            process.stdout.readline()
        process.kill()
        process.communicate()
        put_back(copy)
        assert corrections_of(copy.parent).fingerprint() in whole


def test_a_copy_that_was_being_replaced_is_found_again(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", "photo-0,dog,train\nphoto-1,cat,train\n")
    make_corrections(tmp_path / "corrections", value=1, photos=2)
    corrections, prepared = read_corrections(tmp_path / "corrections"), tmp_path / "prepare"
    copy_corrections(corrections, prepared / "corrections", CLASSES)
    (prepared / "corrections").rename(prepared / ".tmp-corrections-old")
    found = list_data(data, Prepare(), prepared).corrections
    assert found is not None and found.fingerprint() == corrections.fingerprint()
