"""Photos that a step or a training has to do without: noted, named, or a reason to stop."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from tag2mask.artifacts.step_folder import Step
from tag2mask.errors import DataError, Tag2MaskError
from tag2mask.runtime.session import Runtime
from tag2mask.training.dataset import UnreadablePhoto


class TrainingBatch(Protocol):
    """A training batch that names the photos it lacks."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the photos that it holds."""

    @property
    def skipped(self) -> tuple[UnreadablePhoto, ...]:
        """Photos that it lacks."""


class SkippedPhotos:
    """Keeps the photos that training does without in the step's item journal.

    Args:
        step: the folder; a resumed training still knows what an earlier session left out.
        runtime: all its ranks decide alike.
        allowed: whether photos may be left out at all.
        batch_setting: key of the batch size, as the user knows it.
    """

    def __init__(
        self, step: Step[Any], runtime: Runtime, *, allowed: bool, batch_setting: str
    ) -> None:
        self._step = step
        self._runtime = runtime
        self._allowed = allowed
        self._batch_setting = batch_setting

    def check(self, batch: TrainingBatch) -> None:
        """Note photos that can't be read, or stop for them.

        Raises:
            Tag2MaskError: the photo's, where none may be left out.
            DataError: a rank's share of the batch is empty.
        """
        # Nearly every batch is whole: one number over the ranks says so, without gathering objects.
        missing = torch.tensor(len(batch.skipped), device=self._runtime.device)
        if not self._runtime.sum_over_ranks(missing):
            return
        shares = self._runtime.all_gather_object((batch.skipped, len(batch.ids)))
        skipped = [photo for share, _ in shares for photo in share]
        if not self._allowed:
            raise skipped[0].error
        for photo in batch.skipped:
            self.leave_out(photo.id, photo.error)
        if any(read == 0 for _, read in shares):
            raise DataError(
                f"none of the {len(batch.skipped)} photos of a batch can be read",
                where=skipped[0].error.where,
                fix=f"Mend the photos, or raise {self._batch_setting}.",
            )

    def leave_out(self, photo_id: str, error: Tag2MaskError) -> None:
        """Note a photo of this rank that can't be read, or stop for it.

        Raises:
            Tag2MaskError: the photo's, where none may be left out.
        """
        if not self._allowed:
            raise error
        if self._step.journal.key(photo_id) is None:
            self._step.journal.record(photo_id, error.what)

    def lines(self) -> list[str]:
        """Photos that some batch had to do without, each as ``id: reason``."""
        own = {item: self._step.journal.key(item) for item in self._step.journal.ids()}
        reasons = {k: v for share in self._runtime.all_gather_object(own) for k, v in share.items()}
        return [f"{item}: {reason}" for item, reason in sorted(reasons.items())]
