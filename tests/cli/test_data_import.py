"""The command `data import`: what it prints, asks and refuses."""

import pytest
from data_folders import write_photo
from typer.testing import CliRunner

from tag2mask.cli.app import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `data import` in a folder with two photos; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    for name in ("a_1.jpg", "a_2.jpg", "b.jpg"):
        write_photo(tmp_path / "photos" / name)

    def run(table, *options):
        (tmp_path / "t.csv").write_text(table)
        words = ["data", "import", "t.csv", "--photos", "photos", "--out", "data", *options]
        done = CliRunner().invoke(app, words)
        return done.exit_code, done.stdout, done.stderr

    return run


def test_what_is_printed(run, tmp_path):
    code, printed, errors = run("part;fault\na;dent\nb;\n")
    assert code == 0
    assert printed.splitlines() == [
        "table: t.csv, 2 rows, read as utf-8-sig",
        "columns: photos in 'part', tags in 'fault'",
        "classes: 1, by parts: dent 1",
        "no tag: 1 row ('empty cell' 1)",
        "photos: 3 of 3 joined, of 2 parts, 1 with several photos",
        "  a = a_1.jpg, a_2.jpg: dent",
        "  b = b.jpg: no tag",
        "written: data: 3 photos (links); check it: tag2mask data check data",
    ]
    assert errors.startswith("warning: 1 tagged part has several photos")
    assert (tmp_path / "data/tags.csv").read_text() == (
        "image,tags,group\nimages/a_1.jpg,dent,a\nimages/a_2.jpg,dent,a\nimages/b.jpg,,b\n"
    )


def test_an_earlier_import_changes_only_with_consent(run, tmp_path):
    assert run("part;fault\na;dent\n")[0] == 0
    before = (tmp_path / "data/tags.csv").read_bytes()
    code, printed, errors = run("part;fault\na;pit\nb;\n")
    assert code == 1 and "new classes, behind the others: pit" in printed
    assert "nothing was written" in errors and "--yes" in errors
    assert (tmp_path / "data/tags.csv").read_bytes() == before
    assert run("part;fault\nb;dent\n")[0] == 0
    assert run("part;fault\na;pit\nb;\n", "--yes")[0] == 0
    assert (tmp_path / "data/classes.txt").read_text() == "dent\npit\n"


def test_the_printed_command_can_be_copied(run):
    code, printed, _ = run("part,t\na,dent\n", "--out", "my data")
    assert code == 0 and printed.endswith("check it: tag2mask data check 'my data'\n")


def test_options(run, tmp_path):
    table = "part,scratch,pit\na,x,\nb,,2\n"
    code, *_ = run(table, "--tag-columns", "pit, scratch", "--rename", "pit=hole", "--copy")
    assert code == 0 and (tmp_path / "data/classes.txt").read_text() == "hole\nscratch\n"
    assert not (tmp_path / "data/images/b.jpg").is_symlink()
    code, _, errors = run(table, "--rename", "pit")
    assert code == 2 and "OLD=NEW" in errors
    code, _, errors = run("part,t\na,fine\nb,dent\n", "--no-tag", "fine,ok", "--out", "d2")
    assert code == 0 and (tmp_path / "d2/classes.txt").read_text() == "dent\n"


def test_what_is_in_the_way_is_one_message(run, tmp_path):
    code, printed, errors = run("part,t\nq,1\n", "--tags-column", "u")
    assert code == 1 and printed == "" and "Traceback" not in errors
    assert "no column names a photo" in errors and "no column 'u'" in errors
    assert not (tmp_path / "data").exists()
    for sheet in ("--sheet=x", "--encoding=klingon"):
        code, _, errors = run("part,t\na,dent\n", sheet)
        assert code == 1 and errors.startswith("error: ")
