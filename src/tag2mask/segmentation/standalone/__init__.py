"""The program that `export` writes next to an ONNX network: these modules, joined into one file.

They import only numpy, Pillow and onnxruntime besides each other.
"""

from __future__ import annotations

import ast
from pathlib import Path

_PARTS = ("photos", "maps", "network", "files", "decisions", "predict")
"""The modules in the order of their imports; the last one is run."""


def joined_source() -> str:
    """Return the modules as one Python file, without the imports of each other."""
    sources = [Path(__file__).with_name(f"{part}.py").read_text("utf-8") for part in _PARTS]
    docstring = ast.get_docstring(ast.parse(sources[-1]), clean=False)
    bodies = "\n\n".join(_body(source) for source in sources)
    return f'"""{docstring}"""\n\nfrom __future__ import annotations\n\n{bodies}'


def _body(source: str) -> str:
    """Return a module without its docstring and its imports of other parts and of the future."""
    lines: list[str | None] = list(source.splitlines())
    docstring, *nodes = ast.parse(source).body
    joined = [
        node
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] in ("__future__", "tag2mask")
    ]
    for node in (docstring, *joined):
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        lines[first:last] = [None] * (last - first)
    return "\n".join(line for line in lines if line is not None).strip() + "\n"
