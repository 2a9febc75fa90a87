"""Where the time of a training step goes: ``python -m benchmarks.step_parts [--rounds 3]``.

The steps of the default recipe on the demo's photos, from files, as in the rows ``…_vs_raw_step``:
reading the batch, forward and backward pass, and the update of the weights. The network alone
(`benchmarks.bare_networks`) is timed in turn; what forward and backward pass take beyond it is the
method: PCM and losses, or the pairs of AffinityNet.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.measure import quiet
from benchmarks.steps_vs_networks import (
    LOGGED,
    PLAIN,
    Training,
    affinity_training,
    cam_training,
    segmenter_training,
    times,
)
from tag2mask.training import loop

SKIPPED = 3
"""Steps at the start of a training that don't count."""


class Parts:
    """Seconds of the parts of each step.

    Args:
        skipped: steps at the start of a training that don't count.
    """

    def __init__(self, skipped: int = SKIPPED) -> None:
        self.skipped = skipped
        self.whole: list[float] = []
        self.read: list[float] = []
        self.update: list[float] = []

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Measure every step of a training that runs inside."""
        own = loop._Loop.step
        steps = 0

        def step(training: Any, number: int, batches: Iterator[Any]) -> dict[str, float]:
            nonlocal steps
            read, update = [0.0], [0.0]

            def timed_batches() -> Iterator[Any]:
                while True:
                    start = time.perf_counter()
                    batch = next(batches)
                    read[0] += time.perf_counter() - start
                    yield batch

            update_of = training.optimizer.step

            def timed_update(*given: Any, **named: Any) -> Any:
                start = time.perf_counter()
                found = update_of(*given, **named)
                update[0] += time.perf_counter() - start
                return found

            start = time.perf_counter()
            with mock.patch.object(training.optimizer, "step", timed_update):
                metrics = own(training, number, timed_batches())
            whole = time.perf_counter() - start
            steps += 1
            if steps > self.skipped:
                self.whole.append(whole)
                self.read.append(read[0])
                self.update.append(update[0])
            return metrics

        with mock.patch.object(loop._Loop, "step", step):
            yield


def trainings(*, toy: bool = False) -> dict[str, Training]:
    """Return each training of the default recipe and its network alone, by the step's name."""
    return {
        "train-cam, plain CAM": cam_training(toy=toy, settings=PLAIN),
        "train-cam, SEAM": cam_training(toy=toy),
        "train-affinity": affinity_training(toy=toy),
        "train-segmenter": segmenter_training(toy=toy),
    }


def measure(
    train: Callable[[Path], object], network: Callable[[], None], rounds: int, parts: Parts
) -> list[float]:
    """Return milliseconds of the whole step, the network alone, the method, reading, update."""
    bare: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="tag2mask-parts-") as folder, parts.measured():
            out = Path(folder) / "training"
            with quiet():
                train(out)
        bare += times(network, LOGGED)
    whole, alone, read, update = (
        1000 * statistics.mean(values) for values in (parts.whole, bare, parts.read, parts.update)
    )
    return [whole, alone, whole - read - update - alone, read, update]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| step, ms | whole | network alone | method | reading | update |")
    print("|---|---|---|---|---|---|")
    for name, (train, network) in trainings().items():
        found = measure(train, network, options.rounds, Parts())
        print(f"| {name} | {' | '.join(f'{value:.0f}' for value in found)} |", flush=True)


if __name__ == "__main__":
    main()
