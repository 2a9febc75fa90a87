"""Files are opened; pipes and devices, whose reading may never end, are not."""

import os

import pytest
from data_folders import ends_soon

from tag2mask.affinity.marginals import read_marginals
from tag2mask.artifacts.journal import recorded_items
from tag2mask.data.corrections.decisions import Decision, read_decisions
from tag2mask.data.corrections.folder import Corrections
from tag2mask.data.index import read_index, write_source
from tag2mask.errors import DataError, RunFolderError
from tag2mask.evaluation.photo_rows import read_photo_rows
from tag2mask.files.digests import digest, file_digest
from tag2mask.files.json_file import read_json
from tag2mask.files.links import open_itself
from tag2mask.files.regular_file import SpecialFileError, open_regular
from tag2mask.formats.tables.excel_table import read_excel_table
from tag2mask.formats.text_files.json_file import read_json_file
from tag2mask.formats.text_files.json_stream import iterate_list
from tag2mask.formats.text_files.text_lines import read_lines
from tag2mask.formats.text_files.xml_stream import root_element
from tag2mask.maps.cam_map import read_map
from tag2mask.training.log import LOSSES, last_metrics


def test_links_to_files_are_opened_and_pipes_are_not(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"x"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "zero"):
        with ends_soon(), pytest.raises(SpecialFileError, match="it is a pipe or a device"):
            open_regular(path)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "gone")


def test_readers_of_text_refuse_pipes(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ends_soon():
        for read in (read_json_file, read_lines):
            with pytest.raises(DataError, match="can't be read: it is a pipe or a device"):
                read(path)
        with pytest.raises(RunFolderError, match=r"pipe or a device.*Put a file in its place"):
            read_json(path)
        with pytest.raises(SpecialFileError):
            list(iterate_list(path))
        assert root_element(path) == ""


@pytest.mark.parametrize(
    ("name", "read", "message"),
    [
        ("decisions.jsonl", read_decisions, "pipe or a device.*Put a file in its place"),
        ("items.jsonl", lambda path: recorded_items(path.parent), "pipe or a device.*Put a file"),
        ("a.safetensors", digest, "pipe or a device"),
        ("a.png", file_digest, "pipe or a device"),
        ("train.jsonl", lambda path: read_index(path.parent, "train"), r"train\.jsonl is damaged"),
        ("photos.jsonl", lambda path: list(read_photo_rows(path, dict)), "missing or damaged"),
        ("a.npz", read_map, "it is a pipe or a device.*run infer-cam again"),
        ("marginals", lambda path: read_marginals(path, (4, 4), 1), "it is a pipe or a device"),
        ("a.xlsx", read_excel_table, "it is a pipe or a device.*Put a file in its place"),
    ],
)
def test_readers_of_runs_and_tables_refuse_pipes(tmp_path, name, read, message):
    write_source(tmp_path, "csv", tmp_path)
    os.mkfifo(tmp_path / name)
    with ends_soon(), pytest.raises((DataError, RunFolderError), match=message):
        read(tmp_path / name)


def test_a_pipe_is_no_log_and_no_mask(tmp_path):
    os.mkfifo(tmp_path / LOSSES)
    (tmp_path / "masks").mkdir()
    os.mkfifo(tmp_path / "masks/a.png")
    corrections = Corrections(tmp_path, {"a": Decision("a", "corrected")})
    with ends_soon():
        assert last_metrics(tmp_path) == {}
        with pytest.raises(RunFolderError, match="it is a pipe or a device"):
            corrections.mask_bytes("a")


def test_a_pipe_is_not_appended_to(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with ends_soon(), pytest.raises(SpecialFileError):
        open_itself(tmp_path / ".lock", "ab")
