"""Files that the system can't read: one message, in all readers."""

import pytest

from tag2mask.errors import DataError
from tag2mask.formats.coco.instances import read_coco_file
from tag2mask.formats.cvat import read_cvat_labels
from tag2mask.formats.labelme.reading import read_labelme_file
from tag2mask.formats.labelstudio.reading import read_labelstudio
from tag2mask.formats.tables.excel_table import read_excel_table
from tag2mask.formats.text_files.json_file import read_json_file
from tag2mask.formats.text_files.readable import readable
from tag2mask.formats.text_files.text_lines import read_lines, text_encoding
from tag2mask.formats.ultralytics.data_yaml import read_data_yaml

READERS = {
    "coco": read_coco_file,
    "cvat": read_cvat_labels,
    "excel": read_excel_table,
    "json": read_json_file,
    "labelme": read_labelme_file,
    "labelstudio": lambda path: list(read_labelstudio(path)),
    "lines": read_lines,
    "encoding": text_encoding,
    "yaml": read_data_yaml,
}


@pytest.mark.parametrize("name", READERS)
def test_a_folder_in_the_place_of_a_file(tmp_path, name):
    """A folder, and not a file without permission: root reads everything."""
    path = tmp_path / "a.json"
    path.mkdir()
    with pytest.raises(DataError, match=r"can't be read: .*a\.json\]. Check the path and its perm"):
        READERS[name](path)


def test_other_errors_pass():
    with pytest.raises(ValueError, match="x"), readable("a"):
        raise ValueError("x")
