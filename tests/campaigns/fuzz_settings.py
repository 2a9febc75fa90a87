"""Recipes, ``--set`` and ablation tables."""

from __future__ import annotations

from pathlib import Path

from campaigns.fuzz_target import Target
from tag2mask.ablation.table import load_table, row_options, row_recipe, shipped_tables
from tag2mask.recipe.loading import dump_recipe, load_recipe, shipped_recipes
from tag2mask.recipe.schema import Recipe

_OPTIONS = """train_cam.epochs=5
train_cam.long_side=[48, 80]
train_cam.backbone.name=resnet18
name=mine
walk={enabled: false}
prepare.val_split=null
train_cam.optimizer.lr=1e-3
"""
_BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)
_TOKENS = (
    *(b"&a ", b"*a", b"<<: *a", b"!!float", b"!!int", b"!!binary", b"!!timestamp", b"!!set"),
    *(b"!!python/object/apply:os.system", b"!!omap", b"!!pairs", b"? ", b"- ", b"|\n", b">\n"),
    *(b"2026-02-30T25:61:00Z", b"0o9", b"0b2", b"1__2", b"+.inf", b"1:99:99", b"0x", b"---\n"),
    *(b"%YAML 9.9\n", b"{}", b"{a: {b: c}}", b"[[1]]", b"epochs: *j\n", _BOMB.encode()),
)


def _write_recipes(folder: Path) -> list[Path]:
    files = []
    for name, text in shipped_recipes().items():
        files.append(folder / f"{name}.yaml")
        files[-1].write_text(text, encoding="utf-8")
    files.append(folder / "all-keys.yaml")
    files[-1].write_text(dump_recipe(Recipe()), encoding="utf-8")
    return files


def _write_options(folder: Path) -> list[Path]:
    (folder / "options.txt").write_text(_OPTIONS)
    return [folder / "options.txt"]


def _read_options(file: Path) -> None:
    # As the command line gets them: text with surrogates for what is not UTF-8, and no zeros.
    text = file.read_bytes().replace(b"\0", b"").decode("utf-8", "surrogateescape")
    dump_recipe(load_recipe("tiny", text.splitlines()))


def _write_tables(folder: Path) -> list[Path]:
    files = []
    for name, text in shipped_tables().items():
        files.append(folder / f"{name}.yaml")
        files[-1].write_text(text, encoding="utf-8")
    return files


def _read_table(file: Path) -> None:
    table = load_table(file)
    for row in table.rows[:3]:
        row_recipe(table, row, row_options(table, row, ["train_cam.seed=1"]))


TARGETS = (
    Target("recipe", _write_recipes, lambda file: dump_recipe(load_recipe(file)), _TOKENS, 0.5),
    Target("--set", _write_options, _read_options, (*_TOKENS, b".", b"=", b"train_cam."), 0.5),
    Target("ablation table", _write_tables, _read_table, (*_TOKENS, b"set", b"rows", b"name"), 0.5),
)
