"""Photos and masks are read once, and their warnings stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_folders import write_array, write_data

from tag2mask.data.checks import masks
from tag2mask.data.index import write_index, write_mask_rows, write_source
from tag2mask.data.inventory import Inventory
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.prepare.index_changes import PreparedIndex, read_prepared_index
from tag2mask.data.prepare.measure import measure_photos
from tag2mask.data.splits import SPLITS


def prepared(folder: Path, inventory: Inventory) -> PreparedIndex | None:
    samples, masks, _ = measure_photos(inventory, None)
    (folder / "classes.json").write_text('{"names": ["dog"]}')
    write_source(folder, inventory.layout, inventory.root)
    for split in SPLITS:
        write_index(folder, split, samples[split], inventory.root)
    write_mask_rows(folder, masks)
    return read_prepared_index(folder)


def test_known_masks_are_not_read_again_but_still_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_data(tmp_path / "data", "a,dog,train\nb,,train\n", photos="a b")
    write_array(root / "masks/a.png", np.full((6, 8), 255, np.uint8))
    inventory = read_inventory(root)
    first = measure_photos(inventory, None)
    before = prepared(tmp_path, inventory)
    assert before is not None and before.masks[0].values == (255,)
    read: list[Path] = []
    monkeypatch.setattr(masks, "read_mask_content", lambda path, _: read.append(path))
    assert measure_photos(inventory, before) == first
    assert len(first[2]) == 1 and "255" in first[2][0].message
    assert read == []


def test_masks_of_an_index_without_values_are_read(tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", "a,dog,train\nb,,train\n", photos="a b")
    write_array(root / "masks/a.png", np.full((6, 8), 255, np.uint8))
    inventory = read_inventory(root)
    assert prepared(tmp_path, inventory) is not None
    path = tmp_path / "masks.jsonl"
    path.write_text(path.read_text().replace(', "values": [255]', ""))
    before = read_prepared_index(tmp_path)
    assert before is not None and before.masks[0].values is None
    _, (row,), (problem,) = measure_photos(inventory, before)
    assert row.values == (255,) and "255" in problem.message
    path.write_text(path.read_text().replace('"stamp"', '"values": [[1]], "stamp"'))
    assert read_prepared_index(tmp_path) is None  # damaged
