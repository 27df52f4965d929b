"""How the pages are built: offline, from Markdown, docstrings and the programs in gallery/. Warnings are errors."""

import io
import itertools
import re
from importlib.metadata import version as installed

import matplotlib
from docutils import nodes
from docutils.parsers.rst import Directive

matplotlib.use("agg")

project = "atrous"
author = "The atrous authors"
copyright = f"{author}; Apache License 2.0"
version = release = installed("atrous")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_gallery.gen_gallery"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.py", "gallery/*.zip"]
nitpicky = False
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

# A single backtick in a docstring is code, as in Markdown.
default_role = "code"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

sphinx_gallery_conf = {
    "examples_dirs": "../gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "atrous"
html_static_path = ["_static"]
html_css_files = ["atrous.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "atrous"},
    "navbar_start": ["navbar-logo"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
}
suppress_warnings = ["config.cache"]  # the gallery's settings hold objects that cannot be cached; nothing is lost


class CommandHelp(Directive):
    """The help of `atrous COMMAND` as the command line itself prints it, so that the page cannot go stale."""

    optional_arguments = 1

    def run(self):
        from rich.console import Console

        from atrous.cli import app

        page = io.StringIO()
        console = Console(file=page, width=78, force_terminal=False, color_system=None)
        app.help_print(self.arguments[:1], console=console)
        text = "\n".join(line.rstrip() for line in page.getvalue().strip().splitlines())
        return [nodes.literal_block(text, text, language="text")]


def from_markdown(app, what, name, obj, options, lines):
    """Make of a docstring's tables and indented blocks what reStructuredText calls them."""
    done = []
    for kind, group in itertools.groupby(lines, key=_kind):
        block = list(group)
        if kind == "table":
            rows = [[cell.strip() for cell in re.split(r"\s*\|\s*", row.strip().strip("|"))] for row in block]
            rows = [row for row in rows if not all(set(cell) <= {"-", ":"} for cell in row)]
            done += ["", ".. list-table::", "   :header-rows: 1", ""]
            for row in rows:
                done += [f"   {'*' if at == 0 else ' '} - {cell}" for at, cell in enumerate(row)]
            done.append("")
        elif kind == "indented" and (not done or not done[-1].strip()):
            done += [".. code-block:: text", "", *block, ""]
        else:
            done += block
    lines[:] = done


def _kind(line):
    if line.startswith("|"):
        return "table"
    return "indented" if line.startswith("    ") and line.strip() else "text"


def setup(app):
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", from_markdown)
