"""Formulas as MathML, which browsers show without a script: the pages load nothing."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

_LOG = logging.getLogger(__name__)


def inline(writer: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(converted(node, as_block=False))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.math_block) -> None:
    """Write a displayed formula."""
    writer.body.append(
        f'<div class="formula" style="margin: 1em 0">{converted(node, as_block=True)}</div>'
    )
    raise nodes.SkipNode


def converted(node: nodes.Element, *, as_block: bool) -> str:
    """Return a formula as MathML; one that can't be converted is a warning, and empty."""
    try:
        return str(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        _LOG.warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer, to be chosen by ``html_math_renderer``."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}
