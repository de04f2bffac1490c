"""Sphinx builds the site from these pages: ``make site``."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_site"))

project = "bitmill"
copyright = "the authors of bitmill; Apache-2.0"  # noqa: A001
release = version = metadata.version("bitmill")

extensions = ["myst_parser", "sphinx.ext.autodoc", "generated_pages", "repository_links"]
exclude_patterns = ["_site"]
html_theme = "furo"
html_title = f"bitmill {release}"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3
# Of options in help texts they would make dashes.
smartquotes = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
add_module_names = False
suppress_warnings = ["myst.header"]
