"""The rules of ARCHITECTURE.md: who may import whom, where torch stays out, and what no module is called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import atrous

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "atrous"
TORCH_FREE = {
    "contract",
    "_core",
    "data",
    "crf",
    "evaluation",
    "prediction",
    "draw",
    "pages",
    "serving",
    "store",
    "recipes",
    "verbs",
    "cli",
}
NEEDS_TORCH = {"torch", "torchvision", "timm", "accelerate"}
VAGUE = {"utils", "helpers", "common", "misc", "base"}


def read_table(text: str) -> dict[str, tuple[set[str], set[str]]]:
    """Return per room what it may import anywhere, and what inside functions only."""
    table: dict[str, tuple[set[str], set[str]]] = {}
    for room, anywhere, inside in re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|$", text, re.MULTILINE):
        above = set(table) if "every room above" in inside else set()
        table[room] = set(re.findall(r"`(\w+)`", anywhere)), set(re.findall(r"`(\w+)`", inside)) | above
    return table


def imports(tree: ast.AST, package: str, inside: bool = False) -> Iterator[tuple[str, bool, int]]:
    """Yield the full name, whether it stands inside a function, and the line, of everything that is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{origin}.{alias.name}", inside, node.lineno) for alias in node.names)
        else:
            only_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(node, package, inside or function or only_types)


def complaints(path: Path, source: Path, table: dict[str, tuple[set[str], set[str]]]) -> Iterator[str]:
    """Yield a line for every import of a module that the rules do not allow."""
    where = path.relative_to(source)
    room = where.parts[0].removesuffix(".py")
    package = ".".join(["atrous", *where.parts[:-1]])
    if room not in table:
        yield f"{where}: the room {room} is not in the table of ARCHITECTURE.md"
        return
    anywhere, inside_only = table[room]
    for name, inside, line in imports(ast.parse(path.read_text("utf-8")), package):
        root, _, rest = name.partition(".")
        other = rest.split(".")[0]
        allowed = {room, "contract", "__version__"} | anywhere | (inside_only if inside else set())
        if root == "atrous" and other not in allowed:
            yield f"{where}:{line}: {room} may not import {name}{'' if inside else ' at module level'}"
        torch_module = where.as_posix() == "crf/torch.py"
        if root in NEEDS_TORCH and room in TORCH_FREE and not inside and not torch_module:
            yield f"{where}:{line}: {root} may be imported inside functions only, {room} works without torch"


MODULES = sorted(SOURCE.rglob("*.py"))
TABLE = read_table((ROOT / "ARCHITECTURE.md").read_text("utf-8"))


def test_every_import_is_in_the_table() -> None:
    assert [line for path in MODULES for line in complaints(path, SOURCE, TABLE)] == []


def test_no_module_has_the_name_of_a_function_or_a_vague_one() -> None:
    functions = {name for name in atrous.__all__ if not name.startswith("_")}
    assert [path for path in MODULES if {path.stem, path.parent.name} & (functions | VAGUE)] == []


def test_table_is_whole() -> None:
    assert TABLE["data"] == ({"_core", "draw", "pages"}, set())
    assert TABLE["store"] == ({"data", "prediction"}, {"models"})
    assert "tuning" in TABLE["verbs"][1]
    assert "cli" not in TABLE["verbs"][1]
    assert set(TABLE) >= TORCH_FREE


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        ("draw.py", "from atrous.models import fcn", "draw may not import atrous.models.fcn at module level"),
        ("draw.py", "def f():\n    from . import models", "draw.py:2: draw may not import atrous.models"),
        (
            "data/voc.py",
            "from ..training.loop import train",
            "data may not import atrous.training.loop.train at module",
        ),
        ("store.py", "import atrous.models", "store may not import atrous.models at module level"),
        (
            "store.py",
            "try:\n    import torch.nn\nexcept ImportError:\n    pass",
            "store.py:2: torch may be imported ins",
        ),
        ("novel.py", "", "the room novel is not in the table"),
    ],
)
def test_what_breaks_a_rule_is_found(tmp_path: Path, module: str, text: str, words: str) -> None:
    path = tmp_path / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    assert words in "\n".join(complaints(path, tmp_path, TABLE))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("data/voc.py", "from atrous._core import confusion\nfrom . import images\nfrom atrous.contract import Sample"),
        ("store.py", "def load():\n    import torch\n    from atrous import models"),
        ("crf/torch.py", "import torch"),
        ("verbs.py", "from atrous import __version__"),
    ],
)
def test_what_keeps_the_rules_is_let_through(tmp_path: Path, module: str, text: str) -> None:
    path = tmp_path / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    assert list(complaints(path, tmp_path, TABLE)) == []
