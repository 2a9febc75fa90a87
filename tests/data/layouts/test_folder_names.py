"""What names of folders say, word by word."""

import pytest

from tag2mask.data.layouts.folder_names import folder_kind, is_system_folder, mentioned_kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("data imgs Images JPEGImages leftImg8bit imagesTr images_001 Training_Input", "photos"),
        ("masks train_masks Training_GroundTruth ground_truth gtFine trainannot", "masks"),
        ("labelled LABELS SegmentationClassAug ann_dir GT predictions img_masks", "masks"),
        ("train Training val2017 test", "split"),
        (
            "dog with_mask Imager Labrador left class 2017 maskara 犬 database traffic_signs",
            "class",
        ),
    ],
)
def test_names_that_consist_of_known_words(names, kind):
    assert {name: folder_kind(name) for name in names.split()} == dict.fromkeys(names.split(), kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("with_mask", "masks"),
        ("ISIC2018_Task1_Training_GroundTruth", "masks"),
        ("ISIC2018_Task1-2_Training_Input", "photos"),
        ("Training_dogs", "split"),
        ("unmasked", "class"),
    ],
)
def test_names_that_mention_a_word(name, kind):
    assert mentioned_kind(name) == kind


def test_system_folders():
    names = ["__MACOSX", "@eaDir", ".ipynb_checkpoints", "lost+found", "$RECYCLE.BIN"]
    assert all(map(is_system_folder, names)) and not is_system_folder("dog")
