"""What a folder's name says: photos, masks, a split or system files; otherwise maybe a class.

Names are compared word by word: ``train_masks``, ``Training_GroundTruth`` and ``leftImg8bit`` have
the words ``masks``, ``ground truth`` and ``img``; ``Imager`` has none.
"""

from __future__ import annotations

import re
from typing import Literal

FolderKind = Literal["photos", "masks", "split", "class"]

_KNOWN_WORDS: dict[FolderKind, str] = {
    "photos": "image images img imgs photo photos photograph photographs pic pics picture pictures "
    "jpeg jpegs jpg jpgs png pngs data dataset datasets input inputs frames rgb thumbnails",
    "masks": "mask masks label labels labeled labelled annotation annotations annotated annot "
    "annots ann anns anno annos trainannot valannot testannot gt gts groundtruth groundtruths "
    "segmentation segmentations segmented seg segs segm segms semantic semantics panoptic instance "
    "instances target targets trimap trimaps labelmap labelmaps depth depths disparity output "
    "outputs result results pred preds prediction predictions",
    "split": "train training val valid validation test testing trainval",
    "class": "dir dirs folder folders file files all full set left right color colour colored gray "
    "grey fine coarse class classes object objects raw bit tr ts original originals resized "
    "cropped aug",
}
"""Words by what they mean; those of ``class`` mean nothing next to the others."""
_KIND_OF_WORD = {word: kind for kind, words in _KNOWN_WORDS.items() for word in words.split()}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
SYSTEM_FOLDERS = frozenset(
    {"__macosx", "__pycache__", "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle"}
    | {"@recently-snapshot", "$recycle.bin", "system volume information", "lost+found"}
)
"""Folders that systems make for themselves, in lower case."""


def is_system_folder(name: str) -> bool:
    """Return whether a system made a folder for itself: hidden, ``__MACOSX``, ``@eaDir``."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def folder_kind(name: str) -> FolderKind:
    """Return what a name means that has no other word; ``class`` where it has one."""
    known = all(word in _KIND_OF_WORD or word.isdecimal() for word in _words(name))
    return mentioned_kind(name) if known else "class"


def mentioned_kind(name: str) -> FolderKind:
    """Return what a name means by any of its words: ``with_mask`` mentions masks."""
    found = {_KIND_OF_WORD.get(word) for word in _words(name)}
    kinds: tuple[FolderKind, ...] = ("masks", "photos", "split")
    return next((kind for kind in kinds if kind in found), "class")


def _words(name: str) -> list[str]:
    """Return a name's words in lower case; ``ground truth`` is one."""
    text = " ".join(_WORD.findall(name)).casefold()
    return re.sub(r"\bground truth(s?)\b", r"groundtruth\1", text).split()
