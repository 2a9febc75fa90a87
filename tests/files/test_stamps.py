"""Stamps differ once a file is changed."""

import os

from tag2mask.files.stamps import file_stamp, files_stamp


def test_stamps_of_one_file_and_of_several(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_bytes(b"abc")
        os.utime(file, ns=(0, 5))
    assert file_stamp(files[0].stat()) == "3-5", "finished runs have it in their index"
    before = files_stamp(files)
    assert before == files_stamp(reversed(files)) == "2-aeeb8654f68806ec"
    os.utime(files[0], ns=(0, 6))
    changed = files_stamp(files)
    files[0].unlink()
    missing = files_stamp(files)
    assert len({before, changed, missing}) == 3
