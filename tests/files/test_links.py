"""Links inside a folder that was received: nothing outside of it is written or deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tag2mask.artifacts.handles import CamMaps
from tag2mask.artifacts.redo import put_back_moved, redone_folder
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import RunFolderError
from tag2mask.files.links import check_no_linked_folders, open_itself

pytestmark = pytest.mark.smoke


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder of the user's own, outside of the step's."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/scan.png").write_text("scan")
    return tmp_path / "docs"


def begin(out: Path) -> None:
    """Begin a step and leave its folder partial."""
    with pytest.raises(KeyboardInterrupt), step_folder(CamMaps, out, section={}) as step:
        step.journal.record("scan", "key")
        raise KeyboardInterrupt


def drop_all(out: Path) -> None:
    """Resume the step with data that lacks all of its items."""
    with step_folder(CamMaps, out, section={}) as step:
        step.journal.drop_missing([], lambda item: [out / f"maps/a/{item}.png"])
        step.finish()


@pytest.mark.parametrize("link", ["maps", "maps/a"])
def test_nothing_is_deleted_through_a_linked_folder(tmp_path: Path, docs: Path, link: str) -> None:
    out = tmp_path / "infer-cam"
    begin(out)
    (docs / "a").mkdir()
    (docs / "scan.png").rename(docs / "a/scan.png")
    (out / link).parent.mkdir(exist_ok=True)
    (out / link).symlink_to(docs if link == "maps" else docs / "a")
    with pytest.raises(RunFolderError, match=rf"link to another folder.*{link}\].*delete the link"):
        drop_all(out)
    assert (docs / "a/scan.png").read_text() == "scan"
    (out / link).unlink()
    drop_all(out)


def test_a_redo_puts_the_earlier_files_with_their_link_aside(tmp_path: Path, docs: Path) -> None:
    out = tmp_path / "infer-cam"
    begin(out)
    (out / "maps").symlink_to(docs)
    with redone_folder(CamMaps, out), step_folder(CamMaps, out, section={}) as step:
        step.finish()
    assert not (out / "maps").exists() and (docs / "scan.png").exists()


def test_the_folder_may_be_a_link_and_hold_links_to_files(tmp_path: Path, docs: Path) -> None:
    out = tmp_path / "infer-cam"
    out.symlink_to(docs, target_is_directory=True)
    (docs / "scan.png").rename(tmp_path / "scan.png")
    begin(out)
    (docs / "maps/a").mkdir(parents=True)
    (docs / "maps/a/scan.png").symlink_to(tmp_path / "scan.png")
    (docs / "self").symlink_to("self")
    drop_all(out)
    assert not (docs / "maps/a/scan.png").is_symlink() and (tmp_path / "scan.png").is_file()
    (docs / "maps/b").symlink_to(tmp_path)
    with step_folder(CamMaps, out, section={}) as step:
        assert step.complete, "a finished folder is not written"
    check_no_linked_folders(tmp_path / "missing")


@pytest.mark.parametrize("name", ["items.jsonl", ".lock"])
@pytest.mark.parametrize("target", ["scan.png", "new"])
def test_a_linked_file_is_not_appended_to(
    tmp_path: Path, docs: Path, name: str, target: str
) -> None:
    out = tmp_path / "infer-cam"
    begin(out)
    (out / name).unlink()
    (out / name).symlink_to(docs / target)
    with pytest.raises(RunFolderError, match=rf"a link is in the place.*/{name}\].*delete"):
        begin(out)
    assert [path.name for path in docs.iterdir()] == ["scan.png"]
    assert (docs / "scan.png").read_text() == "scan"


def test_texts_are_utf8(tmp_path: Path) -> None:
    with open_itself(tmp_path / "a", "w") as file:
        file.write("é\n")
    assert (tmp_path / "a").read_bytes() == "é\n".encode()


@pytest.mark.parametrize("name", [".before-redo", ".before-redo-moving"])
def test_files_behind_a_link_are_not_put_back(tmp_path: Path, docs: Path, name: str) -> None:
    out = tmp_path / "infer-cam"
    begin(out)
    drop_all(out)
    (out / name).symlink_to(docs)
    put_back_moved(out)
    with redone_folder(CamMaps, out):
        begin(out)
        drop_all(out)
    assert (docs / "scan.png").is_file() and not (out / "scan.png").exists()
    assert {path.name for path in out.iterdir()} == {"manifest.json", "items.jsonl", ".lock"}
