"""What happened to the regions of imported masks, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from tag2mask.errors import counted, first_few


@dataclass
class ImportCounts:
    """What happened to regions and pixels, over all photos.

    Attributes:
        regions: that were drawn.
        low_scores: with too low a score.
        unscored: without a score, where scores were compared.
        gated_regions: of classes that the photo's tags exclude, which were left out.
        gated_photos: of these regions.
        dropped_pixels: where regions of different classes overlap.
        unshown: photos with labels that have no pixels, which were left out.
        against_tags: photos whose masks show classes that the photo's tags exclude.
    """

    regions: int = 0
    low_scores: int = 0
    unscored: int = 0
    gated_regions: int = 0
    gated_photos: int = 0
    dropped_pixels: int = 0
    unshown: Sequence[str] = ()
    against_tags: list[str] = field(default_factory=list)

    def metrics(self) -> dict[str, int]:
        """Return the counts that are not zero, for the manifest."""
        found = {name: value for name, value in asdict(self).items() if isinstance(value, int)}
        found["photos_without_pixels"] = len(self.unshown)
        return {name: value for name, value in found.items() if value}

    def warnings(self, min_score: float | None) -> list[str]:
        """Return what the user should know of what was left out.

        Args:
            min_score: the lowest score of a region that is drawn; None: all are.
        """
        found = []
        if self.unshown:
            what = counted(len(self.unshown), "photo has a label", "photos have labels")
            found.append(
                f"{what} without pixels, such as a box or a tag, left out: "
                f"{first_few(self.unshown, 3)}"
            )
        if self.low_scores:
            what = counted(self.low_scores, "region", "regions")
            found.append(f"{what} with a score below {min_score:g}, left out")
        if self.unscored:
            what = counted(self.unscored, "region has", "regions have")
            found.append(f"{what} no score, drawn whatever --min-score is")
        if self.gated_regions:
            what = counted(self.gated_regions, "region", "regions")
            where = counted(self.gated_photos, "photo", "photos")
            found.append(f"{what} of {where} left out: the photo's tags exclude their class")
        if self.dropped_pixels:
            found.append(
                f"{self.dropped_pixels} pixels where regions of different classes overlap: the "
                "higher score is shown, else the smaller region"
            )
        if self.against_tags:
            masks = counted(len(self.against_tags), "mask shows", "masks show")
            found.append(
                f"{masks} classes that the photo's tags exclude "
                f"({first_few(self.against_tags, 3)}); --gate-by-tags leaves them out"
            )
        return found
