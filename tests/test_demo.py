"""The demo, small: what it writes, what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atrous import cli, demo
from atrous.contract import AtrousError


def test_demo_writes_scenes_run_and_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    for _ in range(2):  # the second replaces the first
        with pytest.raises(SystemExit) as stop:
            cli.main(["demo", "--out", str(out), "--epochs", "1", "--train", "8", "--val", "2", "--quiet", "--json"])
        assert stop.value.code == 0
    printed = json.loads(capsys.readouterr().out.split("\n}\n")[1] + "\n}")
    assert 0 <= printed["scores"]["mean_iou"] <= 1
    assert {path.name for path in out.iterdir()} == {"scenes", "run", "predictions"}
    assert len(list((out / "predictions" / "masks").iterdir())) == 2
    assert len(list((out / "predictions" / "overlays").iterdir())) == 2
    assert Path(printed["run"]) == out / "run"


def test_demo_refuses_a_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(AtrousError, match="holds other things than a demo; choose another --out"):
        demo.demo(tmp_path, epochs=1, train=2, val=1, listener=lambda event: None)
    assert (tmp_path / "thesis.txt").read_text() == "three years of work"


@pytest.mark.slow
def test_demo_reaches_its_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["demo", "--out", str(tmp_path / "demo"), "--quiet", "--json"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out)["scores"]["mean_iou"] >= 0.85
