"""Plant faults one at a time, and check that the tests that mirror them fail.

The faults are in ``campaigns/faults``, one module per package. Each is planted into a copy of the
package, never into the checkout. First all their tests run without any fault and must pass.

Usage, in the folder of the repository::

    make mutants                                      # all
    make mutants N=20                                 # 20 of them, spread over the packages
    PYTHONPATH=tests python tests/campaigns/mutants.py --only seam.losses
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from campaigns.fault import ROOT, SOURCE, Fault, NotApplicableError
from campaigns.faults import FAULTS

WORKERS = 2
TIMEOUT_SECONDS = 900.0
PASSED, FAILED = 0, 1
"""Exit codes of pytest; others mean that no test ran."""


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign and return its exit code."""
    parser = argparse.ArgumentParser(description="Plant faults that the tests must notice.")
    parser.add_argument("--number", type=int, default=0, help="number of faults; 0: all")
    parser.add_argument("--only", default="", help="faults whose symbol or text has this in it")
    options = parser.parse_args(arguments)
    chosen = [fault for fault in FAULTS if options.only in fault.name]
    chosen = spread(chosen, options.number or len(chosen))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as work:
        copies = [_copy(Path(work) / str(number)) for number in range(WORKERS)]
        tests = sorted({test for fault in chosen for test in fault.tests})
        if _run_tests(copies[0], tests, timeout=None) != PASSED:
            print("the tests fail without a fault")
            return 1
        free: SimpleQueue[Path] = SimpleQueue()
        for copy in copies:
            free.put(copy)
        with ThreadPoolExecutor(WORKERS) as pool:
            results = Counter(pool.map(lambda fault: _judge(fault, free), chosen))
    minutes = (time.monotonic() - began) / 60
    print(f"{len(chosen)} faults, {results['caught']} caught ({minutes:.0f} min)")
    return 0 if results["caught"] == len(chosen) else 1


def spread(faults: Sequence[Fault], number: int) -> list[Fault]:
    """Return at most so many faults, evenly spaced."""
    number = min(number, len(faults))
    return [faults[i * len(faults) // number] for i in range(number)]


def _copy(folder: Path) -> Path:
    """Copy the package and return the folder that it can be imported from."""
    shutil.copytree(SOURCE, folder / "tag2mask", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _judge(fault: Fault, free: SimpleQueue[Path]) -> str:
    """Plant a fault into a free copy, run its tests, print and return what happened."""
    copy, began = free.get(), time.monotonic()
    try:
        result = _planted(fault, copy)
    finally:
        free.put(copy)
    print(f"{result:8} {time.monotonic() - began:5.0f} s  {fault.name}", flush=True)
    return result


def _planted(fault: Fault, copy: Path) -> str:
    package = copy / "tag2mask"
    try:
        changed = fault.applied(package)
    except NotApplicableError as error:
        print(f"can't be applied: {error}")
        return "UNFIT"
    file = fault.file(package)
    unchanged = file.read_bytes()
    file.write_text(changed, encoding="utf-8")
    try:
        code = _run_tests(copy, fault.tests)
    finally:
        file.write_bytes(unchanged)
    return {PASSED: "SURVIVED", FAILED: "caught"}.get(code, "NO TEST")


def _run_tests(copy: Path, tests: Sequence[str], timeout: float | None = TIMEOUT_SECONDS) -> int:
    """Run tests on a copy of the package and return pytest's exit code."""
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",  # a fault may leave size and time of a file as they were
        "NUMBA_CACHE_DIR": str(copy / "numba"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *(f"tests/{test}" for test in tests)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1
    # A failure is what a fault shall cause; what else there is to see is unexpected.
    if done.returncode not in (PASSED, FAILED) or (timeout is None and done.returncode == FAILED):
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
