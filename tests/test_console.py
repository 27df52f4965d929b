"""What a person sees: the lines of a run, bars on a terminal, and nothing when quiet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from atrous import console
from atrous.contract import LabelSpace
from atrous.evaluation import Scores
from atrous.runs import Epoch, Note
from atrous.training import Step

SCORES = Scores(space=LabelSpace(names=("a", "b")), confusion=np.array([[3, 1], [0, 4]]), images=1)
EVENTS = (
    Note(text="resumed at [step] 3"),
    Step(step=3, total=4, epoch=0, loss=0.5, rate=0.05, images=8),
    Epoch(epoch=1, epochs=2, loss=0.5, images_per_second=12.34, scores=SCORES, best=True),
    Epoch(epoch=2, epochs=2, loss=0.25, images_per_second=12.0, scores=None, best=False),
)


def test_notes_and_epochs_are_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with console.watched() as listener:
        for event in EVENTS:
            listener(event)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "resumed at [step] 3",
        "epoch 1/2  loss 0.500  12.3 images/s  mean IoU 77.50  pixel accuracy 87.50  (best)",
        "epoch 2/2  loss 0.250  12.0 images/s",
    ]


def test_what_is_not_as_it_should_be_stands_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry = Epoch(epoch=1, epochs=2, loss=0.5, images_per_second=12.0, scores=None, best=False, waited=0.456)
    with console.watched() as listener:
        listener(Note(text="the [step] waits", warning=True))
        listener(hungry)
    assert capsys.readouterr().err.splitlines() == [
        "warning: the [step] waits",
        "epoch 1/2  loss 0.500  12.0 images/s (waited for images 46 % of the time)",
    ]
    terminal = console.Console(
        file=console.sys.stderr, force_terminal=True, color_system="standard", width=140, highlight=False
    )
    monkeypatch.setattr(console, "error_console", lambda: terminal)
    with console.watched() as listener:
        listener(Note(text="the [step] waits", warning=True))
    assert "\x1b[1;33mwarning: the [step] waits" in capsys.readouterr().err


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with console.watched(quiet=True) as listener, console.counted("reading", quiet=True) as progress:
        for event in EVENTS:
            listener(event)
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_are_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def terminal() -> Any:
        return console.Console(file=console.sys.stderr, force_terminal=True, width=140)

    monkeypatch.setattr(console, "error_console", terminal)
    with console.watched() as listener:
        listener(EVENTS[1])
    with console.counted("reading") as progress:
        progress(3, 4)
    err = capsys.readouterr().err
    assert "starting" in err
    assert "3/4" in err
    assert "loss 0.500  rate 0.0500" in err
    assert "reading" in err
