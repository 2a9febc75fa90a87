"""Photos whose maps or masks show none of their tags: counted after each step that makes them.

Such results teach nothing, or teach that the photo is background. Many of them are a warning with
the likely causes. If all results are like this, the step is an error: later steps could only waste
time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.handles import WITHOUT_TAGGED_PIXELS
from tag2mask.classes import mask_id
from tag2mask.data.index import Sample
from tag2mask.data.photos import read_sample_mask
from tag2mask.errors import DataError, first_few
from tag2mask.runtime.ranks import Ranks
from tag2mask.runtime.threads import ordered_map
from tag2mask.steps.photo_loops.per_photo import files_exist

MANY = 0.2
"""Share of the tagged photos above which empty results are a warning."""
ShowsTags = Callable[[Sample], bool | None]
"""Returns whether a photo's result has a pixel of any of its tags; None: the photo has no tag."""


class EmptyResults(NamedTuple):
    """Tagged photos whose results have no pixel of their tags.

    Attributes:
        ids: the photos, in their order.
        tagged: number of all tagged photos.
    """

    ids: tuple[str, ...]
    tagged: int

    @property
    def is_everything(self) -> bool:
        """Whether no tagged photo shows any of its tags."""
        return 0 < self.tagged == len(self.ids)

    @property
    def counts(self) -> dict[str, int]:
        """Count for the manifest; none where no photo is empty."""
        return {WITHOUT_TAGGED_PIXELS: len(self.ids)} if self.ids else {}

    def metrics(self, problem: str, fix: str) -> dict[str, Any]:
        """Return the photos for the manifest, and the warning if they are many.

        Args:
            problem: what the photos have in common; ``{}`` where they are named.
            fix: likely causes and what to do.
        """
        if not self.ids:
            return {}
        found: dict[str, Any] = {WITHOUT_TAGGED_PIXELS: list(self.ids)}
        if len(self.ids) > MANY * self.tagged:
            found["warnings"] = [f"{problem.format(self._described())}. {fix}"]
        return found

    def checked_metrics(self, step: Path, problem: str, fix: str) -> dict[str, Any]:
        """Return ``metrics`` unless later steps could only waste time.

        Args:
            step: the step's folder.
            problem: see ``metrics``.
            fix: see ``metrics``.

        Raises:
            DataError: no tagged photo shows any of its tags.
        """
        if self.is_everything:
            raise DataError(problem.format(self._described()), where=step, fix=fix)
        return self.metrics(problem, fix)

    def _described(self) -> str:
        if not self.is_everything:
            return f"{len(self.ids)} of {self.tagged} tagged photos ({first_few(self.ids, 3)})"
        return f"all {self.tagged} tagged photos" if self.tagged > 1 else "the only tagged photo"


def empty_results(samples: Sequence[Sample], shows_tags: ShowsTags, ranks: Ranks) -> EmptyResults:
    """Find the tagged photos whose results show none of their tags.

    Args:
        samples: photos whose results are written.
        shows_tags: looks at one photo's result.
        ranks: the processes, which share the photos.

    Raises:
        DataError: a result can't be read.
    """
    shares = ranks.gather_results(lambda: _shown(ranks.shard(samples), shows_tags, ranks))
    shown = {
        sample.id: found
        for rank, share in enumerate(shares)
        for sample, found in zip(samples[rank :: len(shares)], share, strict=True)
    }
    tagged = [sample.id for sample in samples if shown[sample.id] is not None]
    return EmptyResults(tuple(item for item in tagged if not shown[item]), len(tagged))


def empty_files(
    samples: Sequence[Sample],
    files: Callable[[str], Sequence[Path]],
    shows_tags: Callable[[Sample, Path], bool | None],
    ranks: Ranks,
) -> EmptyResults:
    """Find the tagged photos whose first file shows none of their tags; see `empty_results`.

    Photos that lack a file were skipped and are not counted.
    """
    made = [sample for sample in samples if files_exist(files, [sample.id])]
    return empty_results(made, lambda sample: shows_tags(sample, files(sample.id)[0]), ranks)


def _shown(samples: Sequence[Sample], shows_tags: ShowsTags, ranks: Ranks) -> list[bool | None]:
    """Return the answers for this rank's photos, in their order."""
    found = []
    with ranks.progress(len(samples), "check for tags", only_if_long=True) as bar:
        for answer in ordered_map(shows_tags, samples):
            found.append(answer)
            bar.advance()
    return found


def mask_shows_tags(sample: Sample, path: Path, num_classes: int) -> bool | None:
    """Return whether a mask has a pixel of any of its photo's tags; None: it has none.

    Raises:
        DataError: the mask is missing, damaged or of another photo.
    """
    if not sample.tags:
        return None
    return shows_any(read_sample_mask(sample, path, num_classes), sample.tags)


def shows_any(mask: NDArray[np.uint8], tags: Sequence[int]) -> bool:
    """Return whether a mask has a pixel of any of the tags."""
    return any(bool((mask == mask_id(tag)).any()) for tag in tags)
