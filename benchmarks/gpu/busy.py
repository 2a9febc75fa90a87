"""The share of time in which a GPU computes."""

from __future__ import annotations

import subprocess
import threading
from types import TracebackType
from typing import Self

EVERY_MS = 100
START = 0.25
"""Share of the samples, counted from the first, that is left out: a step's start."""
COMMAND = (
    "nvidia-smi",
    "--query-gpu=utilization.gpu",
    "--format=csv,noheader,nounits",
    f"--loop-ms={EVERY_MS}",
)


class BusyShare:
    """Samples a GPU's utilization while a block runs.

    A sample is the share of the time since the last one in which a kernel was running.

    Args:
        gpu: its number; None: nothing is sampled.

    Attributes:
        share: mean of the samples after the start, 0..1; None: there are none.
    """

    def __init__(self, gpu: int | None) -> None:
        self.gpu = gpu
        self.share: float | None = None
        self._samples: list[float] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self.gpu is None:
            return self
        try:
            self._process = subprocess.Popen(
                (*COMMAND, f"--id={self.gpu}"),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:  # no such program
            return self
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None or self._reader is None:
            return
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        kept = self._samples[int(START * len(self._samples)) :]
        self.share = sum(kept) / len(kept) if kept else None

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            text = line.strip()
            if text.isdigit():  # some GPUs answer [N/A]
                self._samples.append(int(text) / 100)
