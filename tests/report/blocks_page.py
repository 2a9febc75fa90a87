"""A page with every kind of block, with long names and names that contain markup."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tag2mask.report.page import (
    Advice,
    Card,
    Cards,
    Cell,
    Column,
    Figures,
    Folded,
    Gallery,
    Note,
    Page,
    PageSection,
    PageTable,
    PhotoRow,
    Preformatted,
    picture,
)
from tag2mask.report.plots import Series, line_plot

EVIL = '<script>document.title="evil"</script>'
LONG = "a-very-long-name-without-any-space-" * 8


def page_of_all_blocks() -> Page:
    """Return a page of one section with each kind of block, pictures and two plots."""
    plot = line_plot(
        [
            Series(EVIL, np.arange(9.0), np.arange(9.0) ** 2, ((3.0, 9.0, LONG),)),
            Series("two", np.arange(9.0), np.arange(9.0), color=1),
        ],
        x_label="step",
        y_label="loss",
    )
    photo = picture("photo", Image.new("RGB", (90, 60), (200, 80, 40)))
    names = (EVIL, LONG, "bird")
    matrix = tuple((Cell(a), *(Cell("9", heat=0.5, title=a) for _ in names)) for a in names)
    blocks = (
        Note(f"A note about {EVIL}."),
        Cards((Card("mIoU", "55.4 %", "train, 849 photos"), Card(EVIL, "1", LONG), Card("c", "3"))),
        PageTable(
            (Column("class", numeric=False), Column("IoU", wide=True), Column("lead")),
            tuple(
                (Cell(name, swatch="#ff0000"), Cell("5.0", bar=0.05), Cell("+1", tone="good"))
                for name in names * 20
            ),
            caption=LONG,
        ),
        PageTable(
            (Column("", numeric=False), *(Column(name) for name in names)), matrix, matrix=True
        ),
        Figures(
            (("one", plot), (EVIL, plot)), legend=(EVIL, LONG), caption="Two plots.", title=LONG
        ),
        Gallery(
            EVIL,
            tuple(
                PhotoRow(LONG, "mIoU 3 %", ((LONG, "#00ff00"), (EVIL, "#0000ff")), (photo,) * count)
                for count in (1, 4, 5, 6, 8)
            ),
        ),
        Gallery("", (PhotoRow("untitled", "", (), (photo,) * 10),)),
        Advice(((EVIL, LONG, "5 s + 42 min"), ("finding", "change", "")), caption=LONG),
        Folded("Recipe", "train_cam:\n  epochs: 5\n" + LONG * 3),
        Preformatted(f"tag2mask run --data {LONG}"),
    )
    return Page(
        f"tag2mask {EVIL}",
        LONG,
        (
            PageSection("all", EVIL, blocks, intro="How to read it."),
            PageSection("none", "Empty", ()),
        ),
        footer=EVIL,
    )
