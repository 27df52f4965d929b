"""The pages keep their word: their programs run, their commands exist, their links lead somewhere, docstrings too."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GENERATED = ("_build", "gallery")
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in GENERATED)
TEXTS = [*PAGES, *sorted(ROOT.glob("*.md"))]
SOURCE = ROOT / "src"
MODULES = sorted(path for path in (SOURCE / "atrous").rglob("*.py") if ">>>" in path.read_text("utf-8"))
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def blocks(text: str, *languages: str) -> list[str]:
    """Return the fenced blocks of a page in these languages, in order."""
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language.strip() in languages]


def commands(text: str) -> list[str]:
    """Return the commands of a page: `$` lines of console blocks, and the lines of bash blocks, joined at `\\`."""
    consoles = [line[2:] for body in blocks(text, "console") for line in joined(body) if line.startswith("$ ")]
    return consoles + [line for body in blocks(text, "bash") for line in joined(body) if line.strip()]


def joined(body: str) -> list[str]:
    return body.replace("\\\n", " ").splitlines()


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", without_code(text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as the pages' parser and GitHub make them."""
    titles = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as the pages assume: `street` with a run trained on it, `photos`."""
    import atrous
    from atrous.data.scenes import write_scenes

    place = tmp_path_factory.mktemp("workplace")
    write_scenes(place / "street", train=6, val=2, size=(48, 64))
    shutil.copytree(place / "street" / "images" / "val", place / "photos")
    small: dict[str, Any] = {"epochs": 1, "batch": 2, "crop": (33, 49), "width": 1 / 16, "precision": "float32"}
    atrous.train(place / "street", out=place / "runs" / "street", device="cpu", workers=0, **small)
    return place


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text("utf-8"), "python")], ids=named)
def test_programs_run(page: Path, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    shutil.copytree(workplace, place)
    monkeypatch.chdir(place)
    names: dict[str, Any] = {"__name__": "page"}
    for number, program in enumerate(blocks(page.read_text("utf-8"), "python"), 1):
        exec(compile(program, f"{named(page)}, program {number}", "exec"), names)


@pytest.mark.parametrize(
    ("page", "command"),
    [(page, line) for page in TEXTS for line in commands(page.read_text("utf-8"))],
    ids=lambda value: named(value) if isinstance(value, Path) else value,
)
def test_commands_exist(page: Path, command: str) -> None:
    words = shlex.split(command, comments=True)
    if words[:3] == ["accelerate", "launch", "-m"]:
        words = words[3:]
    if words[0] == "make":
        assert set(words[1:]) <= set(TARGETS), f"{named(page)}: {command}"
    elif words[0] == "atrous":
        parse(words[1:])


def parse(arguments: list[str]) -> Any:
    """Bind a command line as `atrous` does, without running it; raise for anything that it would refuse."""
    from atrous.cli import app
    from atrous.flags import value_of, with_flag_values

    words = with_flag_values([word for word in arguments if word != "--debug"])
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    if bound.arguments.get("ignore") is not None:
        value_of(bound.arguments["ignore"])
    if "settings" in bound.signature.parameters:
        check_settings(bound.arguments)
    return bound


def check_settings(arguments: dict[str, Any]) -> None:
    """Make the recipe that a command line asks for; raise `ValueError` where there is none such."""
    from dataclasses import replace

    from atrous import recipes
    from atrous.cli.recipe_flags import changes_of
    from atrous.models import TABLE

    changes, name = changes_of(arguments.get("settings")), arguments.get("recipe")
    start = changes.get("pretrained")
    if name in (None, "auto"):
        recipe = recipes.standard(changes.get("model", "deeplab_v3plus"))
    else:
        recipe = recipes.named(name, start=start if isinstance(start, str) else None)
    assert replace(recipe, **changes).model in TABLE


@pytest.mark.parametrize(
    "line",
    [
        "train street --learning_speed 3",
        "train street --crop 3x4x5",
        "train street --loss dise",
        "train street --recipe unet_isbo",
        "predict runs/street",
        "segment a",
    ],
)
def test_commands_that_do_not_exist_are_found(line: str) -> None:
    from cyclopts import CycloptsError

    with pytest.raises((CycloptsError, ValueError)):
        parse(line.split())


@pytest.mark.parametrize("page", [page for page in TEXTS if links(page.read_text("utf-8"))], ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in links(page.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text("utf-8"))):
            lost.append(link)
    assert not lost, f"{named(page)}: {lost}"


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {DOCS / "index.md"}
    for page in PAGES:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for entry in (line for line in tree.splitlines() if line and not line.startswith(":")):
                name = re.sub(r".*<(.+)>$", r"\1", entry)
                listed |= set(page.parent.glob(f"{name}.md"))
    assert set(PAGES) == listed


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_docstrings_run(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = ".".join(module.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted
    assert not outcome.failed


def test_every_finding_is_explained() -> None:
    from atrous.data import inspection

    text = (DOCS / "howto" / "data.md").read_text("utf-8")
    kinds = {*inspection.REMEDIES, "soft-mask", "object-numbers", "classes-unknown"}
    assert not {kind for kind in kinds if f"`{kind}`" not in text}


def test_every_field_on_disk_is_explained(workplace: Path) -> None:
    from atrous.contract import Geometry, Preprocessing, Recipe

    run, text = workplace / "runs" / "street", (DOCS / "reference" / "files.md").read_text("utf-8")
    config = json.loads((run / "best" / "config.json").read_text("utf-8"))
    written = {*config, *config["scores"], *config["fingerprint"], *config["options"]}
    written |= set(json.loads((run / "last" / "state.json").read_text("utf-8")))
    written |= set(json.loads((run / "log.jsonl").read_text("utf-8").splitlines()[0]))
    written |= {field.name for noun in (Geometry, Preprocessing, Recipe) for field in fields(noun)}
    written |= {path.name for path in (*run.iterdir(), *(run / "last").iterdir()) if path.is_file()}
    assert not {name for name in written if f"`{name}`" not in text}


@pytest.mark.slow
def test_pages_are_built_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("sphinx_gallery")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run([*build, DOCS, tmp_path / "html"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html" / "reference" / "cli.html").read_text("utf-8")
    assert "--learning-rate" in page
