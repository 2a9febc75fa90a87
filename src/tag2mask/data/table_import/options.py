"""What a user may say about a table; all else is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import.

    Attributes:
        photo_column: the column that names the photos or parts; None: found by the photos.
        tags_column: the column that has the tags; None: found.
        tag_columns: columns of ``x``, 0 and 1 or counts, each named after its class.
        separator: the text between several tags in a cell; None: found.
        no_tag: texts that mean no tag, in addition to ``OK``, ``none``, ``-`` and similar.
        rename: new names of tags.
        sheet: of a workbook; None: the only one with a table.
        encoding: of a text file; None: found.
    """

    photo_column: str | None = None
    tags_column: str | None = None
    tag_columns: tuple[str, ...] = ()
    separator: str | None = None
    no_tag: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    sheet: str | None = None
    encoding: str | None = None

    def new_name(self, tag: str) -> str:
        """Return what a tag is called from now on; case doesn't matter."""
        names = {old.casefold(): new for old, new in self.rename.items()}
        return names.get(tag.casefold(), tag)
