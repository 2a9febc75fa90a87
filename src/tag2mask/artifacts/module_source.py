"""The source of a module that a user's recipe names, found and read without importing it.

Importing a module runs it, so what decides a step's identity must be known before.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import invalidate_caches
from importlib.machinery import ModuleSpec
from pathlib import Path

from tag2mask.artifacts.manifest import Identity
from tag2mask.errors import PartError

_INSTALLED = frozenset({"site-packages", "dist-packages"})


def source_inputs(modules: Mapping[str, str], found: Identity | None) -> dict[str, str]:
    """Return digests of modules' sources as inputs of a step's folder.

    Of a module that is gone the digest of before is returned, so that a finished training stays
    usable.

    Args:
        modules: ``package.module:Class`` by the name of the input.
        found: what the folder was made from; None: it doesn't exist.

    Raises:
        PartError: no such module, or its source can't be read.
    """
    inputs = {}
    for key, name in modules.items():
        known = found.inputs.get(key) if found is not None else None
        if known is not None and source_file(module_of(name)) is None:
            inputs[key] = known.fingerprint
        else:
            inputs[key] = source_digest(name)
    return inputs


def module_of(name: str) -> str:
    """Return the module of ``package.module:Class``."""
    return name.partition(":")[0]


def source_digest(name: str) -> str:
    """Return the digest of a module's source and of its own modules that it imports.

    These are modules of the same package or, of a module without a package, modules in the same
    folder. Imports by a name that is computed are not followed.

    Args:
        name: ``package.module:Class``; the class makes no difference.

    Raises:
        PartError: no such module, or its source can't be read.
    """
    invalidate_caches()  # the file may have been written a moment ago
    total = hashlib.sha256()
    for module, content in sorted(_own_sources(module_of(name), name)):
        total.update(f"{module}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def source_file(module: str) -> Path | None:
    """Return the source file of a module on Python's path; None if there is none."""
    spec = _located(module)
    file = None if spec is None or not spec.has_location else spec.origin
    return Path(file) if file is not None and file.endswith(".py") else None


def _located(module: str) -> ModuleSpec | None:
    """Find a module as an import would, without importing the packages that it is in."""
    path: list[str] | None = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        if count > 1 and path is None:
            return None
        spec = _spec(".".join(parts[:count]), path)
        if spec is None:
            return None
        locations = spec.submodule_search_locations
        path = None if locations is None else list(locations)
    return spec


def _spec(module: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = finder.find_spec(module, path)
        if spec is not None:
            return spec
    return None


def _own_sources(module: str, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the names and sources of a module and of those of its own that it imports."""
    first = source_file(module)
    if first is None:
        raise _not_found(module, name)
    folder = None if "." in module or _is_installed(first) else first.parent
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        file = source_file(current)
        if current in seen or file is None or not _is_own(current, file, module, folder):
            continue
        seen.add(current)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise PartError(f"the module can't be read: {error.strerror}", where=file) from None
        yield current, content
        package = current if file.name == "__init__.py" else current.rpartition(".")[0]
        waiting += [current.rpartition(".")[0]] if "." in current else []
        with suppress(SyntaxError, ValueError):  # importing it will report that
            waiting += _imported(ast.parse(content), package)


def _is_own(current: str, file: Path, module: str, folder: Path | None) -> bool:
    """Return whether a module belongs to the named one: its package, or its folder."""
    same_package = current.partition(".")[0] == module.partition(".")[0]
    beside = folder is not None and folder in file.parents and not _is_installed(file)
    return same_package or beside


def _is_installed(file: Path) -> bool:
    return not _INSTALLED.isdisjoint(file.parts)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the names of modules that a source may import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            if start:
                yield start
                yield from (f"{start}.{alias.name}" for alias in node.names)


def _not_found(module: str, name: str) -> PartError:
    here = Path(*module.split("."))
    in_this_folder = here.with_suffix(".py").is_file() or (here / "__init__.py").is_file()
    folder = "the current folder (PYTHONPATH=.)" if in_this_folder else "the folder that holds it"
    return PartError(
        f"no source of a module {module!r} on Python's path",
        where=name,
        fix=f"Install it, or set the environment variable PYTHONPATH to {folder}.",
    )
