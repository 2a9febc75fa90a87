"""Whether there are enough training photos of each class, and without it, to learn from tags.

Docs: ``how-to/how-many-photos``, with the measurements that the numbers are from.
"""

from __future__ import annotations

from collections.abc import Mapping

from tag2mask.errors import counted, first_few

ENOUGH_WITH = 40
"""Training photos of a class; with fewer, chance decides what is learned."""
ENOUGH_WITHOUT = 20
"""Training photos without a class; with fewer, its maps may cover the background, too."""


def few_photos(counts: Mapping[str, int], photos: int) -> str:
    """Return a line that names the classes with few training photos, or few without the class.

    Args:
        counts: training photos of each class, by its name.
        photos: all training photos.

    Returns:
        An empty line if all have enough, or if there is no training photo.

    Example:
        >>> from tag2mask.pipeline.enough_photos import few_photos
        >>> few_photos({"scratch": 60, "spot": 50}, 70)  # doctest: +NORMALIZE_WHITESPACE
        'photos: few for 1 of 2 classes: scratch (10 without it); 40 with each class and 20 without
        it are advised (docs, How many photos)'
    """
    if not photos:
        return ""
    few = [(own, "with it", name) for name, own in counts.items() if own < ENOUGH_WITH]
    few += [
        (photos - own, "without it", name)
        for name, own in counts.items()
        if photos - own < ENOUGH_WITHOUT
    ]
    if not few:
        return ""
    listed = [f"{name} ({own} {what})" for own, what, name in sorted(few)]
    classes = len({name for _, _, name in few})
    return (
        f"photos: few for {classes} of {counted(len(counts), 'class', 'classes')}: "
        f"{first_few(listed)}; {ENOUGH_WITH} with each class and {ENOUGH_WITHOUT} without it "
        "are advised (docs, How many photos)"
    )
