"""Networks of a run and the classes of the data that it goes on with."""

from dataclasses import replace

import pytest

from small_runs import prepared, write_photos
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.errors import DataChangedError
from tag2mask.pipeline.trained_classes import check_kept_classes


def test_other_classes_of_another_folder_are_named_with_both(tmp_path):
    photos = write_photos(tmp_path / "photos")
    prepared(photos, tmp_path / "run/prepare")
    inventory = read_inventory(photos)
    check_kept_classes(inventory, tmp_path / "run")
    changed = replace(inventory, class_names=(*inventory.class_names, "burr"))
    with pytest.raises(DataChangedError, match=r"other classes \(new burr\) \["):
        check_kept_classes(changed, tmp_path / "run")
    elsewhere = replace(changed, root=tmp_path / "others")
    with pytest.raises(DataChangedError, match=r"the run was made of .*/photos, not .*/others \["):
        check_kept_classes(elsewhere, tmp_path / "run")
