"""The documentation: links, commands and settings exist, examples run, the site builds."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel
from typer.testing import CliRunner

from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    PreparedData,
    PseudoMaskFolder,
    WalkedMaps,
)
from tag2mask.artifacts.step_table import STEPS
from tag2mask.cli import app as cli
from tag2mask.pipeline import run as pipeline
from tag2mask.recipe.loading import load_recipe, shipped_recipes
from tag2mask.recipe.schema import Recipe

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*|\{[\w-]+\}.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`([^`]+)`")
PLACEHOLDERS = ("section.key=value", "SECTION.KEY=VALUE")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fences(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text()) if language in languages]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """Yield the words of every call of a program, in fences and in running text."""
    lines = [
        line for body in fences(page, "", "sh") for line in body.replace("\\\n", " ").splitlines()
    ]
    for line in lines + INLINE.findall(prose(page)):
        if line.strip().startswith(f"{program} "):
            yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(INLINE.sub("", prose(page))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_of_tests_and_benchmarks_exist(page: Path) -> None:
    named = re.findall(r"(?<![\w/.-])(?:tests|benchmarks)/[\w./-]*\w", page.read_text())
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_prose_is_wrapped(page: Path) -> None:
    long = [line for line in prose(page).splitlines() if len(line) > 100]
    assert not [line for line in long if not line.startswith(("|", "!["))]


def test_every_page_is_listed() -> None:
    index = ROOT / "docs" / "index.md"
    trees = [
        line
        for body in re.findall(r"^```\{toctree\}\n(.*?)^```$", index.read_text(), re.M | re.S)
        for line in body.split()
        if (ROOT / "docs" / f"{line}.md").is_file()
    ]
    linked = {(index.parent / link).resolve() for link in LINK.findall(prose(index))}
    assert {page for page in PAGES if page.is_relative_to(index.parent)} - linked == {index}
    assert {index.parent / f"{tree}.md" for tree in trees} == linked
    assert {f"{kind.step}.md" for kind in STEPS} <= {page.name for page in linked}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    wrong = [
        f"tag2mask {' '.join(words)}: {problem}"
        for words in commands(page, "tag2mask")
        for problem in command_problems(words)
    ]
    assert not wrong


def command_problems(words: list[str]) -> list[str]:
    """Return what the command line would reject: commands, options, recipes, settings."""
    command: Any = typer.main.get_command(cli.app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if getattr(command, "commands", None) and words and not words[0].startswith("-"):
        return [f"no command {words[0]!r}"] if words[0].islower() else []
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    problems = [
        f"no option {word}"
        for word in words
        if word.startswith("--") and word.partition("=")[0] not in known
    ]
    given = dict(pairwise(words))
    recipe = given.get("--recipe", "lite0-cpu")
    if recipe in shipped_recipes():
        load_recipe(
            recipe,
            [
                value
                for option, value in pairwise(words)
                if option == "--set" and value not in PLACEHOLDERS
            ],
        )
    elif recipe.islower() and not recipe.endswith(".yaml"):
        problems.append(f"no recipe {recipe!r}")
    steps = [kind.step for kind in STEPS]
    return problems + [
        f"no step {given[option]!r}"
        for option in ("--until", "--redo")
        if option in given and given[option].islower() and given[option] not in steps
    ]


def test_a_wrong_command_is_found() -> None:
    assert command_problems(["run", "--datas", "x"]) == ["no option --datas"]
    assert command_problems(["trian-cam"]) == ["no command 'trian-cam'"]
    assert command_problems(["run", "--recipe", "lite1"]) == ["no recipe 'lite1'"]
    assert command_problems(["run", "--until", "masks"]) == ["no step 'masks'"]
    assert command_problems(["recipe", "show", "tiny"]) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for words in commands(page, "make") for word in words if "=" not in word}
    assert named <= targets


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_make_targets_can_be_planned() -> None:
    for target in ("demo", "test", "check", "docs", "bench", "build", "clean"):
        done = subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_every_setting_is_described() -> None:
    text = (REFERENCE / "recipes.md").read_text().partition("## Every setting")[2]
    described = {}
    for part in text.split("\n### ")[1:]:
        section, _, table = part.partition("\n")
        rows = re.findall(r"^\| `([\w.]+)`( °)? \| \S", table, re.MULTILINE)
        described |= {f"{section}.{key}": bool(free) for key, free in rows}
    assert described == dict(settings(Recipe, ""))


def settings(
    model: type[BaseModel], prefix: str, free: frozenset[str] = frozenset()
) -> Iterator[tuple[str, bool]]:
    """Yield every key of the sections, and whether a folder's identity leaves it out."""
    free |= {prefix + key for key in getattr(model, "not_identity", ())}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, f"{prefix}{name}.", free)
        elif prefix:
            yield prefix + name, prefix + name in free


def test_every_recipe_is_described() -> None:
    text = (REFERENCE / "recipes.md").read_text()
    assert [name for name in shipped_recipes() if f"`{name}`" not in text] == []


def test_the_figure_of_the_method_is_what_its_script_draws(tmp_path: Path) -> None:
    script = shutil.copy(ROOT / "docs" / "images" / "method.py", tmp_path)
    subprocess.run([sys.executable, script], check=True)
    figure = (tmp_path / "method.svg").read_text()
    assert figure == (ROOT / "docs" / "images" / "method.svg").read_text()
    assert all(f">{kind.step}<" in figure for kind in STEPS)


def test_the_python_reference_names_what_exists() -> None:
    text = (REFERENCE / "python.md").read_text()
    modules = re.findall(r"automodule:: ([\w.]+)\n +:members:([\w, ]*)\n", text)
    assert len(modules) == text.count("automodule::")
    missing = [
        f"{module}.{name}"
        for module, names in modules
        for name in re.findall(r"\w+", names)
        if not hasattr(import_module(module), name)
    ]
    assert not missing


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run(
        [*sphinx, "-d", tmp_path / "doctrees", ROOT / "docs", tmp_path / "site"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) - 2
    loaded = re.compile(
        r"<(?:script|img|iframe|source|video|audio|object|embed|link)\b[^>]*?"
        r"(?:src|href|data)=[\"'](?:https?:)?//[^\"']*"
    )
    assert [hit for page in pages for hit in loaded.findall(page.read_text())] == []
    styles = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^\"')]*")
    sheets = (tmp_path / "site").rglob("*.css")
    assert [hit for sheet in sheets for hit in styles.findall(sheet.read_text())] == []
    commands = (tmp_path / "site" / "reference" / "cli.html").read_text()
    assert all(f'id="tag2mask-{kind.step}"' in commands for kind in STEPS)


def test_the_tree_in_the_architecture_is_the_packages() -> None:
    tree = (ROOT / "docs" / "concepts" / "architecture.md").read_text().split("tag2mask/\n")[1]
    named = re.findall(r"^  (\w+)/", tree.partition("```")[0], re.MULTILINE)
    source = ROOT / "src" / "tag2mask"
    assert sorted(named) == sorted(path.parent.name for path in source.glob("*/__init__.py"))


def _listed_modules(init: Path) -> set[str]:
    """Return the modules of a package that its docstring lists; none: it lists no modules."""
    package = ".".join(init.parent.relative_to(ROOT / "src").parts)
    lists = re.findall(r"^- (.*?`)(?::|$)", init.read_text(encoding="utf-8"), re.MULTILINE)
    return {name for line in lists for name in re.findall(rf"`{package}\.(\w+)`", line)}


def test_docstrings_that_list_modules_list_all_of_them() -> None:
    listing = {}
    for init in sorted((ROOT / "src").rglob("__init__.py")):
        if listed := _listed_modules(init):
            modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__"}
            packages = {path.parent.name for path in init.parent.glob("*/__init__.py")}
            listing[init.parent.name] = (listed, modules | packages)
    assert len(listing) >= 8
    assert {name: listed for name, (listed, _) in listing.items()} == {
        name: found for name, (_, found) in listing.items()
    }


def test_the_types_in_the_architecture_exist() -> None:
    text = (ROOT / "docs" / "concepts" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \|$", text, re.MULTILINE)
    assert len(rows) >= 6
    for name, package in rows:
        files = (ROOT / "src" / "tag2mask" / package).rglob("*.py")
        assert any(f"class {name}" in file.read_text() for file in files), name


def test_the_layers_in_the_architecture_are_checked() -> None:
    text = (ROOT / "docs" / "concepts" / "architecture.md").read_text()
    fence = text.partition("## Contracts")[2].split("```")[1].removeprefix("text\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert fence.split("\n")[:-1] == [layer.replace("tag2mask.", "") for layer in layers]


def test_every_dependency_is_explained() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.findall(r'"([\w-]+)', project.split("\ndependencies = [")[1].partition("]")[0])
    text = (
        (ROOT / "docs" / "concepts" / "architecture.md").read_text().partition("## Dependencies")[2]
    )
    named = re.findall(r"^\| ([\w-]+) \|", text, re.MULTILINE)
    assert set(wanted) <= set(named)


def test_the_parts_work_on_another_network(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_examples(ROOT / "docs" / "how-to" / "parts.md", {})
    assert names["loss"].isfinite()
    assert all(parameter.grad is not None for parameter in names["net"].head.parameters())
    assert names["maps"].scores.shape == (2, 32, 48)
    assert names["labels"].shape == (32, 48)
    assert set(names["labels"].ravel().tolist()) <= {0, 1, 3}
    assert names["refined"].shape == (1, 4, 40, 60)
    assert names["image2"].shape == (2, 3, 48, 72)
    assert names["back"].shape == names["cam"].shape
    assert names["confusion"].counts.sum() == 32 * 48
    assert (tmp_path / "mine" / "infer-cam" / "maps" / "street" / "001.npz").is_file()


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path, monkeypatch: Any) -> None:
    from tag2mask.data.demo.scenes import make_demo_data
    from tag2mask.runtime.session import Runtime

    monkeypatch.chdir(tmp_path)
    make_demo_data(tmp_path / "photos", photos=12, side=64)
    small = ["tiny", ["train_cam.max_steps=2", "train_cam.batch_size=2", "runtime.workers=0"]]
    photo = next((tmp_path / "photos").rglob("*.jpg"))
    (tmp_path / "street").mkdir()
    shutil.copy(photo, "street/001.jpg")
    shutil.copy(photo, "photo.jpg")
    pipeline.run(Path("photos"), load_recipe(*small), Path("runs/first"))
    names = run_examples(ROOT / "README.md", {}, {'"lite0-cpu"': repr(small)[1:-1]})
    handles, run = names["result"].handles, Path("runs/first")
    names |= {
        "recipe": load_recipe(*small),
        "runtime": Runtime.start(device="cpu", workers=0),
        "data": PreparedData.open(run / "prepare"),
        "model": CamModel.open(run / "train-cam"),
        "maps": CamMaps.open(run / "infer-cam"),
        "labels": AffinityLabels.open(run / "affinity-labels"),
        "affinity": AffinityModel.open(run / "train-affinity"),
        "masks": PseudoMaskFolder.open(run / "pseudo-masks"),
        "run": run,
    }
    for other in ("seam", "cam"):  # the runs in the example of `report`
        shutil.copytree(run, run.parent / other)
    for kind in STEPS:
        if kind is PseudoMaskFolder:
            names["maps"] = WalkedMaps.open(run / "walk")
        page = REFERENCE / "steps" / f"{kind.step}.md"
        run_examples(page, {**names, "out": run / kind.step})
        assert kind.open(run / kind.step).fingerprint == handles[kind.step].fingerprint, kind.step
    run_examples(REFERENCE / "steps" / "export.md", names)
    assert Path("mask.png").is_file()


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: Any) -> None:
    """Run every command of the tutorial in order, on twelve small photos."""
    monkeypatch.chdir(tmp_path)
    small = ["--recipe", "tiny", "--set", "train_cam.max_steps=2", "--set", "runtime.workers=0"]
    tutorial = ROOT / "docs" / "tutorial" / "your-own-photos.md"
    lines = [line for body in fences(tutorial, "sh") for line in body.splitlines()]
    generator, *calls = [line for line in lines if not line.startswith("pip ")]
    code = shlex.split(generator)[2]
    exec(code.replace("Path('photos')", "Path('photos'), photos=12, side=64"), {})
    (tmp_path / "new-photos").mkdir()
    shutil.copy(next((tmp_path / "photos").rglob("*.jpg")), tmp_path / "new-photos")
    for call in calls:
        program, *words = shlex.split(call)
        assert program == "tag2mask"
        done = CliRunner().invoke(cli.app, [*words, *(small if words[0] == "run" else [])])
        assert done.exit_code == 0, f"{call}\n{done.output}"
    for made in ("runs/first/report/index.html", "masks/masks", "masks/overlays", "exported"):
        assert (tmp_path / made).exists()


def test_the_spreadsheet_page_runs(tmp_path: Path, monkeypatch: Any) -> None:
    """Run every command of the page in order, on the table and photos that it makes."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "how-to" / "spreadsheet.md"
    run_examples(page, {})
    printed = []
    for words in [w for body in fences(page, "sh") for w in map(shlex.split, body.splitlines())]:
        if words[0] == "tag2mask":
            done = CliRunner().invoke(cli.app, words[1:])
            assert done.exit_code == 0, f"{words}\n{done.output}"
            printed.append(done.stdout)
    assert printed[0] == fences(page, "text")[0]
    assert "photos: 60 train" not in printed[1] and "validation photos were drawn" in printed[1]
    assert (tmp_path / "data" / "classes.txt").read_text() == "dent\nscratch\nbump\n"
    assert "class 'dent' has no training photo" in done.output


def run_examples(
    page: Path, names: dict[str, Any], replace: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run the Python examples of a page, from top to bottom, in one namespace."""
    examples = fences(page, "python")
    assert examples, page
    assert all(old in "".join(examples) for old in replace or {})
    for code in examples:
        for old, new in (replace or {}).items():
            code = code.replace(old, new)
        exec(compile(code, str(page), "exec"), names)
    return names


@pytest.mark.parametrize(("section", "fewer_steps"), [("Too large", True), ("Too small", False)])
def test_symptoms_turn_the_walk_the_right_way(section: str, fewer_steps: bool) -> None:
    page = (ROOT / "docs" / "how-to" / "symptoms.md").read_text()
    advice = page.partition(f"## {section}")[2].partition("\n## ")[0]
    usual = load_recipe("lite0-cpu").walk
    changed = load_recipe("lite0-cpu", re.findall(r"walk\.(?:steps|beta)=\d+", advice)).walk
    assert (changed.steps < usual.steps) is fewer_steps and changed.steps != usual.steps
    assert (changed.beta > usual.beta) is fewer_steps and changed.beta != usual.beta
