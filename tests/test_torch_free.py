"""The rooms that work without torch do not import it, and `import atrous` imports next to nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "atrous"
TORCH_FREE = (
    "contract",
    "_core",
    "data",
    "crf",
    "evaluation",
    "prediction",
    "draw",
    "serving",
    "store",
    "recipes",
    "verbs",
    "cli",
)


def modules_of(room: str) -> list[str]:
    """Return the full names of all modules of a room; none where it is not in the tree."""
    paths = [SOURCE / f"{room}.py", *sorted((SOURCE / room).rglob("*.py"))]
    parts = [path.relative_to(SOURCE).with_suffix("").parts for path in paths if path.exists()]
    names = [".".join(["atrous", *part]).removesuffix(".__init__") for part in parts]
    return [name for name in names if name != "atrous.crf.torch"]


def imported_after(modules: list[str]) -> set[str]:
    """Return the top-level names a fresh interpreter has imported after these modules."""
    program = f"import sys\nfor name in {modules!r}: __import__(name)\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("room", [room for room in TORCH_FREE if modules_of(room)])
def test_room_imports_neither_torch_nor_scipy(room: str) -> None:
    assert imported_after(modules_of(room)) & {"torch", "torchvision", "timm", "accelerate", "scipy"} == set()


def test_the_check_sees_torch() -> None:
    assert "torch" in imported_after(["torch"])


def test_package_alone_is_instant() -> None:
    heavy = {"numpy", "pydantic", "PIL", "cv2", "rich", "cyclopts", "onnxruntime", "torch", "scipy"}
    assert imported_after(["atrous"]) & heavy == set()


def test_listing_runs_takes_no_torch(tmp_path: Path) -> None:
    (tmp_path / "run" / "last").mkdir(parents=True)
    (tmp_path / "run" / "recipe.json").write_text("{}")
    program = (
        f"import sys\nfrom atrous import cli\ntry: cli.main(['runs', {str(tmp_path)!r}])\nexcept SystemExit: pass\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "deeplab_v3plus" in done.stdout
    assert {"torch", "torchvision", "timm", "accelerate", "scipy", "tensorboard"} & set(done.stderr.split()) == set()
