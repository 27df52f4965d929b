"""The page of recipes is what its program writes, and every recipe is on it."""

import importlib.util
from pathlib import Path

import pytest

from atrous.recipes import PAPERS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("make_recipes", DOCS / "make_recipes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(program):
    assert (DOCS / "reference" / "recipes.md").read_text("utf-8") == program.page()


@pytest.mark.parametrize("name", PAPERS)
def test_every_recipe_is_on_the_page(name, program):
    page = program.page()
    assert page.count(f"\n### {name}\n") == 1
    section = page.split(f"\n### {name}\n")[1].split("\n### ")[0].split("\n## ")[0]
    assert section.count("\n| `") == len(PAPERS[name].cited) + (PAPERS[name].after is not None)


def test_signs_of_tables_are_escaped(program):
    assert program.cell("a | b * c") == r"a \| b \* c"
