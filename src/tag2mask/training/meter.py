"""Mean losses and throughput of a training, for the log, the progress bar and the manifest."""

from __future__ import annotations

import time


class TrainingMeter:
    """Mean of each metric since the last row of the log, and the throughput.

    Args:
        photos: photos per optimizer step over all ranks.
    """

    def __init__(self, photos: int) -> None:
        self.photos = photos
        self.started = time.monotonic()
        self.all_steps = 0
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.since = self.started
        self.latest: dict[str, float] = {}

    def add(self, metrics: dict[str, float]) -> None:
        """Add the metrics of one optimizer step."""
        self.steps += 1
        self.all_steps += 1
        for key, value in metrics.items():
            self.sums[key] = self.sums.get(key, 0.0) + value

    def take(self) -> dict[str, float]:
        """Return the means since the last call and ``photos_per_second``, and start again."""
        now = time.monotonic()
        self.latest = {key: value / self.steps for key, value in self.sums.items()}
        self.latest["photos_per_second"] = self.photos * self.steps / max(now - self.since, 1e-9)
        self.sums, self.steps, self.since = {}, 0, now
        return dict(self.latest)

    @property
    def text(self) -> str:
        """Throughput and mean losses, for the progress bar."""
        if not self.steps:
            return ""
        rate = self.photos * self.all_steps / max(time.monotonic() - self.started, 1e-9)
        shown = "  ".join(f"{k} {v / self.steps:.4f}" for k, v in self.sums.items())
        return f"{rate:.1f} photos/s  {shown}"

    @property
    def summary(self) -> dict[str, float]:
        """Seconds of this session and the last logged metrics, for the manifest."""
        seconds = time.monotonic() - self.started
        return {"seconds": round(seconds, 1), **{k: round(v, 6) for k, v in self.latest.items()}}
