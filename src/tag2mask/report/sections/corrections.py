"""Section about what a person's decisions say of the masks."""

from __future__ import annotations

from tag2mask.artifacts.handles import PreparedData, PseudoMaskFolder
from tag2mask.data.index import read_classes
from tag2mask.evaluation.random_looks import random_looks
from tag2mask.evaluation.wording import mask_name
from tag2mask.report.page import Block, Note, PageSection
from tag2mask.report.run_folder import RunFolder


def random_looks_section(run: RunFolder) -> PageSection:
    """Return the quality of the run's masks from photos that were drawn at random and decided.

    Raises:
        DataError: the corrections are damaged.
    """
    prepared, masks = run.handle(PreparedData), run.handle(PseudoMaskFolder)
    blocks: tuple[Block, ...] = ()
    if prepared is not None and masks is not None:
        classes = len(read_classes(prepared.path))
        looks = random_looks(masks.path / "masks", classes, run.corrections())
        blocks = () if looks is None else (Note(f"{looks.text}."),)
    return PageSection(
        "random-looks",
        "Random looks",
        blocks,
        intro=f"The {mask_name(run.masks_made_by, several=True)} of photos that `tag2mask ask` "
        "chose at random, compared with the masks that a person accepted or drew of them.",
    )
