"""Settings of the documentation site; `make docs` builds it. Nothing is fetched from a network."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS / "extensions"), str(DOCS.parent / "PDDRegistration")]

import pddnet  # noqa: E402  the path comes first

project = "PDD Registration for 3D Slicer"
author = "The PDD Registration developers"
copyright = f"{author}. Apache-2.0"
version = release = pddnet.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_arguments",
    "linked_code",
    "plain_docstrings",
    "room_modules",
]
exclude_patterns = ["_build"]

# Markdown
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Docstrings: Google style, in the order of the source
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries = False
add_module_names = False

# Pages
html_theme = "furo"
html_title = f"PDD Registration {release}"
html_logo = "../Resources/PDDRegistration.png"
html_favicon = "../PDDRegistration/Resources/Icons/PDDRegistration.png"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2a64a8", "color-brand-content": "#2a64a8"},
    "dark_css_variables": {"color-brand-primary": "#7db2ee", "color-brand-content": "#7db2ee"},
}
