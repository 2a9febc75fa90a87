"""Files of data folders that list photos, tags, classes and outlines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from data_folders import (
    annotation_xml,
    box,
    coco_annotation,
    write_coco,
    write_photo,
    write_tag_table,
)
from label_files import valid_files

from campaigns.fuzz_target import Target
from tag2mask.classes import VOC_NAMES
from tag2mask.cli.tables import show_data
from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.inventory import SourceOptions

_TABLES = (
    'image,tags,split,mask\na.png,dog,train,\nb.png,"traffic light";dog,val,masks/b.png\n'
    "c/d.png,cat dog,train,\n",
    'id,tags\na,dog\nb,"traffic light"|dog\nc/d,\n',
    '"image","tags"\n"a.png","dog cat"\n"b.png","dog ""big"""\n',
    "\ufeffimage,tags\r\na.png,dog\r\nb.png,cat\r\n",
)
_XML = annotation_xml("dog", "cat")
_ENCODED = (
    _XML.encode(),
    f'<?xml version="1.0" encoding="utf-8"?>\n{_XML}'.encode(),
    f'<?xml version="1.0" encoding="utf-16"?>{_XML}'.encode("utf-16"),
    f'<?xml version="1.0" encoding="iso-8859-1"?>{_XML}'.encode("latin-1"),
    f'<?xml version="1.0" encoding="us-ascii"?>{_XML}'.encode("ascii"),
    f'<?xml version="1.0" encoding="windows-1252"?>{_XML}'.encode("cp1252"),
)
_ENCODINGS = (
    *(b"x-foo", b"utf-7", b"utf-32", b"utf_8_sig", b"hex", b"zlib", b"rot13", b"idna", b"cp037"),
    *(b"punycode", b"undefined", b"unicode_escape", b"raw_unicode_escape", b"shift_jis", b"gbk"),
    *(b"iso-2022-jp", b"big5", b"mbcs", b"base64", b"uu", b"koi8-r", b"euc-jp", b"string-escape"),
)
_IDS = "2007_000032\nstreet/001\n2007_000033 -1\n/JPEGImages/a.jpg /SegmentationClass/a.png\n"
_JSON = (
    *(b'"id"', b'"image_id"', b'"category_id"', b'"segmentation"', b'"counts"', b'"size"'),
    *(b'"images"', b'"annotations"', b'"categories"', b'"iscrowd"', b"[[]]", b"[[0,0,9,0,9,9]]"),
)


def _check(folder: Path, **options: str) -> None:
    show_data(check_data(folder, options=SourceOptions(**options), workers=1))


def _checked_above(levels: int = 0, **options: str) -> Callable[[Path], None]:
    """Return a reader that checks the data folder that a file is in."""
    return lambda file: _check(file.parents[levels], **options)


def _write_tables(folder: Path) -> list[Path]:
    tables = []
    for number, text in enumerate(_TABLES):
        root = write_tag_table(folder / str(number), text)
        for name in ("a", "b", "c/d", "masks/b"):
            write_photo(root / f"{name}.png")
        tables.append(root / "tags.csv")
    return tables


def _write_class_lists(folder: Path) -> list[Path]:
    _write_tables(folder)
    for number in range(2):
        (folder / str(number) / "classes.txt").write_text("background\ndog\ntraffic light\ncat\n")
    return [folder / str(number) / "classes.txt" for number in range(2)]


def _write_voc(folder: Path, ids: Sequence[str] = ("a", "b")) -> Path:
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for name in ids:
        write_photo(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(annotation_xml("dog"))
    (folder / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{i}\n" for i in ids))
    return folder


def _write_annotations(folder: Path) -> list[Path]:
    files = []
    for number, xml in enumerate(_ENCODED):
        files.append(_write_voc(folder / str(number)) / "Annotations" / "a.xml")
        files[-1].write_bytes(xml)
    return files


def _write_labels(folder: Path) -> list[Path]:
    files = []
    for number, content in enumerate(valid_files()):
        root = folder / str(number)
        _write_voc(root, ["2007_000001", "2007_000002"])
        files.append(root / "cls_labels.npy")
        files[-1].write_bytes(content)
    return files


def _write_lists(folder: Path) -> list[Path]:
    voc = _write_voc(folder / "voc") / "ImageSets" / "Main" / "train.txt"
    table = _write_tables(folder)[0].parent / "photos.txt"
    for file in (voc, table):
        file.write_text(_IDS + "a\nb\n")
    return [voc, table]


def _read_list(file: Path) -> None:
    if file.name == "photos.txt":
        _check(file.parent, train_split="photos.txt")
    else:
        _check(file.parents[2])


def _write_coco(folder: Path) -> list[Path]:
    crowd = {"size": [8, 10], "counts": [8, 8, 64]}
    annotations = [
        coco_annotation(1, 7, box(1, 1, 4, 4)),
        coco_annotation(2, 3, crowd, iscrowd=1),
        coco_annotation(2, 7, {"size": [8, 10], "counts": "88P2"}),
    ]
    names = {1: "a.png", 2: "b.png"}
    return [
        write_coco(folder / "one", "train", names, annotations),
        write_coco(folder / "two", "train", names, annotations[:1], name="instances.json"),
    ]


def _read_coco(file: Path) -> None:
    _check(file.parents[file.parent.name == "annotations"])


_NAMES = tuple(name.encode() for name in (*VOC_NAMES[:5], "background", "__ignore__", "no_label"))
TARGETS = (
    Target("tags.csv", _write_tables, _checked_above(), (b"image", b"id", b"tags", *_NAMES)),
    Target("classes.txt", _write_class_lists, _checked_above(), _NAMES, 0.5),
    Target("VOC annotation", _write_annotations, _checked_above(1), (*_ENCODINGS, b"<!DOCTYPE a>")),
    Target("cls_labels.npy", _write_labels, _checked_above()),
    Target("list of photos", _write_lists, _read_list, (*_NAMES, b"/JPEGImages/", b" -1"), 0.5),
    Target("COCO JSON", _write_coco, _read_coco, _JSON),
)
