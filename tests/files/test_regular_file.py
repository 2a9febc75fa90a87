"""Files are opened; pipes and devices, whose reading may never end, are not."""

import os

import pytest
from data_folders import ends_soon

from tag2mask.errors import DataError, RunFolderError
from tag2mask.files.json_file import read_json
from tag2mask.files.regular_file import SpecialFileError, open_regular
from tag2mask.formats.text_files.json_file import read_json_file
from tag2mask.formats.text_files.json_stream import iterate_list
from tag2mask.formats.text_files.text_lines import read_lines
from tag2mask.formats.text_files.xml_stream import root_element


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
        with pytest.raises(RunFolderError, match="it is a pipe or a device"):
            read_json(path)
        with pytest.raises(SpecialFileError):
            list(iterate_list(path))
        assert root_element(path) == ""
