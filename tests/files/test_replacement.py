"""Folders that take the place of an earlier one at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tag2mask.errors import DataError, FolderInUseError, ProblemsError, RunFolderError
from tag2mask.files.replacement import replaced_folder

pytestmark = pytest.mark.smoke


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text(text)
    return folder


def test_the_new_folder_takes_the_place_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for text in ("first", "second"):
        with replaced_folder(out) as new:
            write(new, text)
            assert not out.exists() or (out / "a.txt").read_text() == "first"
        assert (out / "a.txt").read_text() == text
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RunFolderError])
def test_after_an_error_everything_is_as_before(tmp_path: Path, error: type[BaseException]) -> None:
    out = write(tmp_path / "out", "first")
    with pytest.raises(error), replaced_folder(out) as new:
        write(new, "second")
        raise error("no")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "a.txt").read_text() == "first"


def test_what_a_killed_process_left_is_used_or_removed(tmp_path: Path) -> None:
    write(tmp_path / ".tmp-out-new", "half")
    write(tmp_path / ".tmp-out-old", "first")  # killed between the two renames
    with pytest.raises(RunFolderError), replaced_folder(tmp_path / "out") as new:
        assert not list(new.iterdir())
        raise RunFolderError("no")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "first"


def test_of_a_link_the_folder_behind_it_is_replaced(tmp_path: Path) -> None:
    disk = write(tmp_path / "disk", "first")
    (tmp_path / "out").symlink_to(disk, target_is_directory=True)
    with replaced_folder(tmp_path / "out") as new:
        write(new, "second")
    assert (tmp_path / "out").is_symlink() and (disk / "a.txt").read_text() == "second"


def test_errors_name_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError) as caught, replaced_folder(out) as new:
        raise ProblemsError(f"no {new}/a", [f"{new}/b: bad"], where=new / "c")
    assert caught.value.where == out / "c" and caught.value.what == f"no {out}/a"
    assert ".tmp" not in str(caught.value) and f"{out}/b: bad" in str(caught.value)


@pytest.mark.parametrize("given", [".", "..", "../out"])
def test_the_working_directory_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    out = write(tmp_path / "out", "first")
    monkeypatch.chdir(out)
    with pytest.raises(RunFolderError, match=r"while you are in it \[.*another --out"):
        replaced_folder(Path(given)).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert Path("a.txt").read_text() == "first"


def test_the_root_of_a_volume_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write(tmp_path / "out", "first")
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == out)
    with pytest.raises(RunFolderError, match=r"root of a disk or volume.*folder inside of it"):
        replaced_folder(out).__enter__()
    assert (out / "a.txt").read_text() == "first"


def test_a_second_process_is_refused_and_deletes_nothing(tmp_path: Path) -> None:
    out = write(tmp_path / "out", "first")
    script = (
        "import sys; from pathlib import Path\n"
        "from tag2mask.files.replacement import replaced_folder\n"
        f"with replaced_folder(Path({str(out)!r})) as new:\n"
        "    (new / 'a.txt').write_text('second')\n"
        "    print('at work', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"at work\n"
        with pytest.raises(FolderInUseError, match="another process") as caught:
            replaced_folder(out).__enter__()
        assert caught.value.where == out and ".tmp" not in str(caught.value)
        assert (out / "a.txt").read_text() == "first"
        process.stdin.close()
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "a.txt").read_text() == "second"
