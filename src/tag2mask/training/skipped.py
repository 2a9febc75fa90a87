"""Photos skipped during training because they can't be read."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from tag2mask.artifacts.step_folder import Step
from tag2mask.errors import DataError, Tag2MaskError, or_skipped
from tag2mask.runtime.session import Runtime
from tag2mask.training.dataset import UnreadablePhoto


class TrainingBatch(Protocol):
    """A batch that lists the photos it had to skip."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the photos in the batch."""

    @property
    def skipped(self) -> tuple[UnreadablePhoto, ...]:
        """Photos that are missing in the batch."""


class SkippedPhotos:
    """Records skipped photos in the journal of the step's folder.

    Args:
        step: the step's folder; a resumed training still lists the photos of earlier sessions.
        runtime: the ranks, which all decide the same.
        allowed: whether photos may be skipped; if not, the first one raises an error.
        batch_setting: recipe key of the batch size, for error messages.
    """

    def __init__(
        self, step: Step[Any], runtime: Runtime, *, allowed: bool, batch_setting: str
    ) -> None:
        self._step = step
        self._runtime = runtime
        self._allowed = allowed
        self.batch_setting = batch_setting

    def check(self, batch: TrainingBatch) -> None:
        """Record the skipped photos of a batch. Must be called on all ranks.

        Raises:
            Tag2MaskError: error of the photo, if photos must not be skipped.
            DataError: a rank has no readable photo in the batch.
        """
        # Nearly every batch is complete: a sum over the ranks shows that without gathering objects.
        missing = torch.tensor(len(batch.skipped), device=self._runtime.device)
        if not self._runtime.sum_over_ranks(missing):
            return
        shares = self._runtime.all_gather_object((batch.skipped, len(batch.ids)))
        skipped = [photo for share, _ in shares for photo in share]
        if not self._allowed:
            raise or_skipped(skipped[0].error)
        for photo in batch.skipped:
            self.skip(photo.id, photo.error)
        if any(read == 0 for _, read in shares):
            raise DataError(
                f"none of the {len(batch.skipped)} photos of a batch can be read",
                where=skipped[0].error.where,
                fix=f"Fix the photos, or raise {self.batch_setting}.",
            )

    def skip(self, photo_id: str, error: Tag2MaskError) -> None:
        """Record an unreadable photo of this rank.

        Raises:
            Tag2MaskError: the photo's, if photos must not be skipped.
        """
        if not self._allowed:
            raise or_skipped(error)
        if self._step.journal.key(photo_id) is None:
            self._step.journal.record(photo_id, error.what)

    def lines(self) -> list[str]:
        """Return the skipped photos of all ranks and sessions, each as ``id: reason``."""
        own = {item: self._step.journal.key(item) for item in self._step.journal.ids()}
        reasons = {k: v for share in self._runtime.all_gather_object(own) for k, v in share.items()}
        return [f"{item}: {reason}" for item, reason in sorted(reasons.items())]
