"""Draw the figure of the method: ``python docs/images/method.py`` writes ``method.svg``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

WIDTH, HEIGHT = 980, 580
BOX_HEIGHT = 62
COLUMNS = (30, 270, 510, 750)
COLUMN_WIDTH = 200
ROWS = (70, 325, 475)

STYLE = """
  .card { fill: #ffffff; stroke: #d0d4dc; }
  .stage { font: 600 14px sans-serif; fill: #57606a; }
  .command { font: 600 15px monospace; fill: #14213d; }
  .text { font: 12.5px sans-serif; fill: #3c4654; }
  .term { font: 600 12.5px sans-serif; fill: #14213d; }
  .seam { fill: #e3edff; stroke: #4f7cc9; }
  .affinity { fill: #e2f4e6; stroke: #4a9a5f; }
  .segmenter { fill: #fdeedd; stroke: #c98436; }
  .data, .part { fill: #ffffff; stroke: #8a94a3; }
  .arrow { fill: none; stroke: #57606a; stroke-width: 1.6; marker-end: url(#head); }
  .tie { fill: none; stroke: #b3401f; stroke-width: 1.4; stroke-dasharray: 4 3; }
  .loss { font: 600 12px sans-serif; fill: #b3401f; }
  .head { fill: #57606a; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #161b22; stroke: #30363d; }
    .stage { fill: #9aa6b5; }
    .command, .term { fill: #f0f3f8; }
    .text { fill: #c5ced9; }
    .seam { fill: #1d2f52; stroke: #6d9bea; }
    .affinity { fill: #17382a; stroke: #5fb878; }
    .segmenter { fill: #44301a; stroke: #dd9d52; }
    .data, .part { fill: #21262d; stroke: #8a94a3; }
    .arrow { stroke: #9aa6b5; }
    .head { fill: #9aa6b5; }
    .tie { stroke: #ff9b73; }
    .loss { fill: #ff9b73; }
  }
"""


def box(x: int, y: int, width: int, kind: str, command: str, text: str) -> Iterator[str]:
    """Yield a command's box: its name, and what it does."""
    middle = x + width / 2
    yield f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="8"/>'
    yield label(middle, y + 26, "command", command)
    yield label(middle, y + 47, "text", text)


def label(x: float, y: float, kind: str, text: str, anchor: str = "middle") -> str:
    """Return a line of text."""
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'


def arrow(*points: tuple[float, float]) -> str:
    """Return an arrow along some points."""
    return f'<polyline class="arrow" points="{" ".join(f"{x},{y}" for x, y in points)}"/>'


def part(x: float, y: float, width: float, text: str) -> Iterator[str]:
    """Yield a part of the training of the CAM network."""
    yield f'<rect class="part" x="{x}" y="{y}" width="{width}" height="26" rx="5"/>'
    yield label(x + width / 2, y + 17.5, "term", text)


def seam_row() -> Iterator[str]:
    """Yield the first row: from photos and tags to class activation maps."""
    y = ROWS[0] + 40
    yield label(30, 48, "stage", "1  SEAM: class activation maps", "start")
    yield f'<rect class="data" x="30" y="{y}" width="110" height="{BOX_HEIGHT}" rx="8"/>'
    yield label(85, y + 26, "term", "photos")
    yield label(85, y + 47, "term", "+ tags")
    yield arrow((140, y + 31), (167, y + 31))
    yield from box(170, y, 150, "seam", "prepare", "lists, checks")
    yield arrow((320, y + 31), (347, y + 31))
    yield from train_cam(350, ROWS[0] - 8)
    yield arrow((760, y + 31), (787, y + 31))
    yield from box(790, y, 160, "seam", "infer-cam", "several scales")


def train_cam(x: int, y: int) -> Iterator[str]:
    """Yield the box of ``train-cam`` with SEAM's two branches."""
    yield f'<rect class="seam" x="{x}" y="{y}" width="410" height="176" rx="8"/>'
    yield label(x + 14, y + 24, "command", "train-cam", "start")
    yield label(x + 396, y + 24, "text", "one classifier, two views", "end")
    upper, lower = y + 46, y + 128
    for row, view in ((upper, "photo"), (lower, "A(photo)")):
        yield from part(x + 12, row, 74, view)
        yield arrow((x + 86, row + 13), (x + 107, row + 13))
        yield from part(x + 110, row, 76, "classifier")
        yield arrow((x + 186, row + 13), (x + 207, row + 13))
        yield from part(x + 210, row, 50, "CAM")
        yield arrow((x + 260, row + 13), (x + 281, row + 13))
        yield from part(x + 284, row, 50, "PCM")
        yield arrow((x + 334, row + 13), (x + 345, row + 13))
        yield from part(x + 348, row, 54, "refined")
    yield label(x + 49, y + 105, "text", "transform A")
    yield label(x + 148, y + 105, "text", "same weights")
    yield f'<path class="tie" d="M{x + 222},{upper + 26} V{lower}"/>'
    yield label(x + 214, y + 105, "loss", "ER", "end")
    yield f'<path class="tie" d="M{x + 246},{upper + 26} L{x + 375},{lower}"/>'
    yield f'<path class="tie" d="M{x + 246},{lower} L{x + 375},{upper + 26}"/>'
    yield label(x + 340, y + 105, "loss", "ECR", "start")


def affinity_row() -> Iterator[str]:
    """Yield the second row: from class activation maps to pseudo masks."""
    y = ROWS[1]
    yield label(30, y - 48, "stage", "2  AffinityNet and random walk: pseudo masks", "start")
    yield arrow((870, ROWS[0] + 102), (870, y - 34), (130, y - 34), (130, y - 3))
    yield arrow((610, y - 34), (610, y - 3))
    yield label(878, y - 50, "term", "maps", "start")
    names = (
        ("affinity-labels", "reliable pixels, by two CRFs"),
        ("train-affinity", "AffinityNet: same class?"),
        ("walk", "random walk to the outlines"),
        ("pseudo-masks", "background threshold"),
    )
    yield from columns(y, "affinity", names)


def segmenter_row() -> Iterator[str]:
    """Yield the third row: from pseudo masks to the report."""
    y = ROWS[2]
    yield label(30, y - 48, "stage", "3  Segmentation network", "start")
    yield arrow((850, ROWS[1] + 62), (850, y - 34), (130, y - 34), (130, y - 3))
    yield label(858, y - 50, "term", "masks", "start")
    names = (
        ("train-segmenter", "learns from the masks"),
        ("predict", "masks without tags"),
        ("evaluate", "mIoU, where masks exist"),
        ("report", "one HTML page"),
    )
    yield from columns(y, "segmenter", names)


def columns(y: int, kind: str, names: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Yield a row of four boxes with arrows between them."""
    for x, (command, text) in zip(COLUMNS, names, strict=True):
        yield from box(x, y, COLUMN_WIDTH, kind, command, text)
        if x != COLUMNS[-1]:
            yield arrow((x + COLUMN_WIDTH, y + 31), (x + 237, y + 31))


def figure() -> str:
    """Return the figure as SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>The method of tag2mask: SEAM, AffinityNet, segmentation network</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12"/>',
        *seam_row(),
        *affinity_row(),
        *segmenter_row(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(figure(), encoding="utf-8")
