"""Sphinx configuration. ``make docs`` writes the site to ``build/docs``; it needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

from tag2mask.version import __version__

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "tag2mask"
author = "The tag2mask authors"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "commands",
    "mathml",
    "plain_bars",
]
exclude_patterns = ["_extensions", "images/*.py"]

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
highlight_language = "text"
default_role = "code"  # docstrings write `name`

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"tag2mask {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
