"""Names of the layouts of data folders: in recipes, of readers, and on the command line.

Apart from the sections, whose library the command line's ``--help`` doesn't load.
"""

from __future__ import annotations

from typing import Literal, get_args

Layout = Literal[
    "auto",
    "voc",
    "csv",
    "folders",
    "coco",
    "cvat",
    "labelme",
    "voc-xml",
    "labelstudio",
    "fiftyone",
    "yolo",
    "huggingface",
    "mvtec",
    "roboflow",
]
"""How a data folder is read; auto: the first layout that is recognized."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
