"""The documentation site: ``python -m sphinx docs build/docs``."""

import os
import pydoc
import sys
import warnings
from typing import Any, Optional

from docutils import nodes
from sphinx import addnodes

DOCS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(DOCS)
sys.path[:0] = [ROOT, DOCS]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
warnings.filterwarnings("ignore", category=FutureWarning)  # TensorFlow's about numpy

from sspq.version import __version__  # noqa: E402, I001

project = "sspq"
release = __version__
html_title = f"sspq {release}"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
smartquotes = False  # options begin with two hyphens

extensions = [
    "command_line",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# Docstrings are Google's, with two sections of this package.
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Gradient", "Variable Names"]
autodoc_default_options = {"members": True, "no-value": True}
autodoc_inherit_docstrings = False  # of tensorpack's classes
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

# Every reference into the package has to lead to a page; those of other packages have none here,
# and a type variable is on none.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!sspq\.).*|.*\.T")]

# READMEs beside the code that are pages as well: what includes each of them.
PAGES = {"README.md": "index", "examples/README.md": "examples"}
for _op in ("batch_norm", "conv", "dorefa", "pool", "shift2d", "slq"):
    PAGES[f"custom_ops/{_op}/README.md"] = f"ops/{_op}"


def lead_outside(app: Any, doctree: nodes.document) -> None:
    """Makes links of pages to READMEs lead to their pages, and those to folders plain names."""
    here = os.path.dirname(app.env.doc2path(app.env.docname))
    for link in list(doctree.findall(addnodes.pending_xref)):
        path = os.path.normpath(os.path.join(here, link["reftarget"]))
        if link["reftype"] != "myst" or path.startswith(DOCS + os.sep):
            continue
        page = PAGES.get(os.path.relpath(path, ROOT) + ".md")
        if page:
            link["reftarget"] = page
        elif os.path.isdir(path):
            link.replace_self(nodes.literal("", link.astext()))


def lead_to_definition(app: Any, env: Any, node: Any, text: Any) -> Optional[nodes.Node]:
    """Makes a reference to a public name, such as ``sspq.slq.cluster``, lead to its definition."""
    target = node["reftarget"]
    if node.get("refdomain") != "py" or not target.startswith("sspq."):
        return None
    meant, last = pydoc.locate(target), target.rpartition(".")[2]
    python = env.get_domain("py")
    for name in python.objects:
        if name.endswith("." + last) and meant is not None and pydoc.locate(name) is meant:
            return python.resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], name, node, text
            )
    return None


def is_field_number(app: Any, what: str, name: str, field: Any, skip: bool, options: Any) -> Any:
    """Leaves out what Python says about the fields of tuples: their class describes them."""
    return True if str(field.__doc__).startswith("Alias for field number") else None


def setup(app: Any) -> None:
    app.connect("doctree-read", lead_outside)
    app.connect("missing-reference", lead_to_definition)
    app.connect("autodoc-skip-member", is_field_number)
