"""Refining from the doors: `--crf` of predict and evaluate, `crf-tune`, what they say, and what lies on disk."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import atrous
from atrous import flags
from atrous.contract import AtrousError, LabelSpace
from atrous.crf import DenseCRF, mild
from atrous.data import read_image, write_image
from atrous.data.scenes import write_scenes
from atrous.evaluation import Comparison, Scores
from atrous.store import open_model, read_crf, read_json, save_model, write_crf, write_json
from atrous.tuning import NAMES, Chosen, Grid, chosen

SPACE = LabelSpace(names=("dark", "light"))
NUMBERS = {"w1": 3.0, "sigma_alpha": 20.0, "sigma_beta": 4.0, "w2": 1.0, "sigma_gamma": 2.0}
WORDS = "w1 3, sigma_alpha 20, sigma_beta 4, w2 1, sigma_gamma 2"
MILD = "mild (w1 2, sigma_alpha 30, sigma_beta 5, w2 1, sigma_gamma 1)"
SMALL = Grid(w1=(3,), sigma_alpha=(30,), sigma_beta=(5,), w2=(1,), sigma_gamma=(1,))

Run = Callable[..., tuple[int, str, str]]


def bright(images: Any) -> Any:
    light = np.asarray(images)[:, 0].astype(np.float32) / 255
    return np.stack([1 - light, light], 1)


def picture(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small street scenes."""
    return write_scenes(tmp_path_factory.mktemp("data") / "street", train=4, val=3, size=(40, 52))


@pytest.fixture(scope="module")
def once_trained(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "street"
    small: dict[str, Any] = {"epochs": 1, "batch": 2, "crop": 33, "width": 1 / 16, "workers": 0, "device": "cpu"}
    atrous.train(street, out=out, **small)
    segmenter, config = open_model(out)  # of one epoch, it says the same everywhere
    torch.nn.init.normal_(segmenter.net.classify.weight, std=3, generator=torch.Generator().manual_seed(0))
    save_model(out / "best", segmenter, config)
    return out


@pytest.fixture
def trained(once_trained: Path, tmp_path: Path) -> Path:
    """Return a run of its own for every test."""
    return Path(shutil.copytree(once_trained, tmp_path / "runs" / "street"))


# What --crf means -----------------------------------------------------------------------------------------------------


def test_the_names_are_the_same_everywhere() -> None:
    assert flags.REFINERS == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_refiner(name: str) -> None:
    probabilities = np.full((2, 20, 30), 0.5, np.float32)
    found = chosen(name)
    assert found.words.startswith(name)
    assert found.refiner is not None
    refined = found.refiner(picture(20, 30, 3), probabilities)
    assert refined.shape == probabilities.shape
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-4)


def test_a_run_s_tuned_numbers_or_mild_ones(trained: Path) -> None:
    found = chosen(True, trained)
    assert found.refiner == mild()
    assert found.words == f"{MILD}, since {trained} has no tuned numbers: atrous crf-tune {trained} DATA finds them"
    assert chosen(True).words == f"{MILD}, since nothing is tuned for a scorer without a folder"
    write_crf(trained, {"crf": NUMBERS})
    for path in (trained, trained / "best"):
        found = chosen(True, path)
        assert found.refiner == DenseCRF(**NUMBERS)
        assert found.words == f"the numbers tuned for {path} ({WORDS})"
    later = read_json(trained / "last" / "config.json")
    write_json(trained / "last" / "config.json", {**later, "scores": None})
    assert chosen(True, trained / "last").words.endswith("tuned for an earlier state of it: tune again")
    write_crf(trained, {"crf": None})
    assert chosen(True, trained).refiner is None
    assert "no CRF was better than leaving probabilities as they are" in chosen(True, trained).words


def test_files_and_functions(tmp_path: Path) -> None:
    write_json(tmp_path / "own.json", NUMBERS)
    write_json(tmp_path / "run.json", {"format": 1, "crf": {**NUMBERS, "iterations": 5}})
    assert chosen(tmp_path / "own.json").refiner == DenseCRF(**NUMBERS)
    assert chosen(str(tmp_path / "run.json")).refiner == DenseCRF(**NUMBERS, iterations=5)
    assert chosen(tmp_path / "own.json").words == f"{tmp_path}/own.json ({WORDS})"
    assert chosen(bright).refiner is bright
    assert chosen(bright).words == "bright"
    assert chosen(DenseCRF(**NUMBERS)).words == f"DenseCRF ({WORDS})"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"bad.json: not readable JSON"),
        ("[1]", r"bad.json: an object of a CRF's numbers is wanted, such as \{\"w1\": 2"),
        ('{"w1": 2}', r"bad.json: .*missing.*; the keywords of DenseCRF are wanted, such as"),
        (json.dumps({**NUMBERS, "w3": 1}), r"bad.json: .*w3.*; the keywords of DenseCRF are wanted"),
        (
            json.dumps({**NUMBERS, "sigma_beta": 0}),
            r"bad.json: sigma_beta is 0; .*; the keywords of DenseCRF are wanted",
        ),
        ('{"crf": 7}', r"bad.json: .*; the keywords of DenseCRF are wanted"),
        ('{"format": 99, "crf": null}', r"bad.json: format 99; this version reads up to 1: update atrous"),
        ('{"format": "1", "crf": null}', r"bad.json: format '1'; a whole number up to 1 is wanted: run atrous crf-tu"),
        ('{"format": null, "crf": null}', r"bad.json: format None; a whole number up to 1 is wanted"),
        ('{"format": true, "crf": null}', r"bad.json: format True; a whole number up to 1 is wanted"),
        ('{"crf": null, "tuned_on": {"images": [["a"]]}}', r"bad.json: tuned_on has no list of names as its images"),
        ('{"crf": null, "tuned_on": {"images": "ab"}}', r"bad.json: tuned_on has no list of names as its images"),
        ('{"crf": null, "tuned_on": ["a"]}', r"bad.json: tuned_on has no list of names as its images"),
        ('{"crf": null, "tuned_on": {"sha256": 7}}', r"bad.json: tuned_on has sha256 7; a text is wanted"),
        ('{"crf": null, "tuned_on": {"data": []}}', r"bad.json: tuned_on has data \[\]; a text is wanted"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(AtrousError, match=words):
        chosen(tmp_path / "bad.json")


def test_what_is_no_refiner() -> None:
    with pytest.raises(ValueError, match=r"crf 'strong' is not known; there are mild, deeplab_v1, .*, or a JSON file"):
        chosen("strong")
    with pytest.raises(TypeError, match=r"crf 3 came; True, a name .*, a JSON file or a refiner, a function of an im"):
        chosen(3)


def test_a_damaged_crf_json(trained: Path) -> None:
    path = trained / "crf.json"
    path.write_text("[]")
    with pytest.raises(AtrousError, match=r"crf.json: no tuned CRF is in it; remove the file, or run atrous crf-tune"):
        atrous.predict(trained, picture(5, 5, 3), crf=True)
    path.write_text('{"format": 99, "crf": null}')
    with pytest.raises(AtrousError, match=r"crf.json: format 99; this version reads up to 1: update atrous"):
        read_crf(trained)
    for version in ('"1"', "null", "[1]"):
        path.write_text(f'{{"format": {version}, "crf": null}}')
        with pytest.raises(AtrousError, match=r"crf.json: format .*; a whole number up to 1 is wanted: run atrous"):
            atrous.predict(trained, picture(5, 5, 3), crf=True)
    path.write_text('{"format": 1, "crf": null, "tuned_on": {"images": [[]]}}')
    with pytest.raises(
        AtrousError, match=r"crf.json: tuned_on has no list of names as its images: run atrous crf-tune"
    ):
        atrous.predict(trained, picture(5, 5, 3), crf=True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("predict run photos --crf --out out", "--crf=true"),
        ("predict run photos --out out --crf", "--crf=true"),
        ("predict run photos --crf mild --out out", "--crf"),
        ("predict run photos --crf mistyped --out out", "--crf"),
        ("predict --crf mild run photos", "--crf"),
        ("predict run --crf photos", "--crf=true"),
        ("predict --crf run photos", "--crf=true"),
        ("evaluate run data --crf own.json", "--crf"),
        ("evaluate --crf own.json run data", "--crf"),
        ("evaluate run data --crf=guided", "--crf=guided"),
    ],
)
def test_crf_is_a_flag_or_takes_a_word(line: str, expected: str) -> None:
    words = flags.with_flag_values(line.split())
    assert expected in words
    assert len(words) == len(line.split())


# Predict --------------------------------------------------------------------------------------------------------------


def test_predict_refines_arrays_files_and_folders(street: Path, trained: Path, tmp_path: Path) -> None:
    segmenter = atrous.load(trained, device="cpu")
    photos = street / "images" / "val"
    path = sorted(photos.iterdir())[0]
    plain = atrous.predict(segmenter, path, probabilities=True)
    crf = DenseCRF(**NUMBERS)
    expected = crf(read_image(path), plain.probabilities)
    assert (expected.argmax(0) != plain.labels).any()
    write_crf(trained, {"crf": NUMBERS})
    for given in (crf, True):
        found = atrous.predict(trained, path, crf=given, probabilities=True, device="cpu")
        np.testing.assert_array_equal(found.probabilities, expected)
    np.testing.assert_array_equal(atrous.predict(segmenter, read_image(path), crf=crf).labels, expected.argmax(0))
    first = next(iter(atrous.predict(trained, photos, crf=True, device="cpu")))
    np.testing.assert_array_equal(first.labels, expected.argmax(0))
    outcome = atrous.predict(trained, photos, crf=True, out=tmp_path / "out", save="masks", device="cpu")
    assert outcome.refined == f"the numbers tuned for {trained} ({WORDS})"
    np.testing.assert_array_equal(np.array(Image.open(outcome.written[0])), expected.argmax(0))
    assert atrous.predict(trained, photos, out=tmp_path / "out", device="cpu").refined is None


def test_predict_says_what_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "atrous"):
        atrous.predict(bright, picture(6, 7), space=SPACE, crf=True)
        atrous.predict(bright, picture(6, 7), space=SPACE, crf="mild")
    assert caplog.messages == [
        f"refining with {MILD}, since nothing is tuned for a scorer without a folder",
        f"refining with {MILD}",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_numbers_that_were_not_tuned_for_a_model_are_a_warning(trained: Path) -> None:
    assert chosen(True, trained).makeshift
    write_crf(trained, {"crf": NUMBERS})
    assert not chosen(True, trained).makeshift
    config = read_json(trained / "best" / "config.json")
    write_json(trained / "best" / "config.json", {**config, "scores": None})
    assert chosen(True, trained).makeshift


@pytest.fixture
def deep(street: Path, trained: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return the run and the folder as if both were of 16 bits: every value 257 times what it was."""
    run, data = Path(shutil.copytree(trained, tmp_path / "deep")), tmp_path / "street16"
    config = read_json(run / "best" / "config.json")
    config["preprocessing"] |= {"low": 0.0, "high": 65535.0}
    write_json(run / "best" / "config.json", config)
    shutil.copytree(street, data, ignore=shutil.ignore_patterns("images"))
    for path in sorted((street / "images").rglob("*.png")):
        place = data / path.relative_to(street).with_suffix(".tif")
        write_image(place, read_image(path).astype(np.uint16) * 257)
    return run, data


def test_sixteen_bits_are_refined_as_eight(street: Path, trained: Path, deep: tuple[Path, Path]) -> None:
    """The CRF's colours are in 0 to 255 wherever an image comes from: a file, an array, a folder."""
    run, data = deep
    write_crf(trained, {"crf": NUMBERS})
    write_crf(run, {"crf": NUMBERS})
    moved = 0
    for path in sorted((street / "images" / "val").iterdir()):
        eight = atrous.predict(trained, path, crf=True, device="cpu").labels
        moved += (eight != atrous.predict(trained, path, device="cpu").labels).sum()
        same = data / path.relative_to(street).with_suffix(".tif")
        np.testing.assert_array_equal(atrous.predict(run, same, crf=True, device="cpu").labels, eight)
        np.testing.assert_array_equal(atrous.predict(run, read_image(same), crf=True, device="cpu").labels, eight)
    assert moved
    scores = [atrous.evaluate(*each, crf=True, device="cpu") for each in ((trained, street), deep)]
    confusions = [both.after.scores.confusion for both in scores if isinstance(both, Comparison)]
    np.testing.assert_array_equal(*confusions)
    first, second = (atrous.crf_tune(*each, grid=SMALL, device="cpu").trials for each in ((trained, street), deep))
    assert [trial.numbers for trial in first] == [trial.numbers for trial in second]
    np.testing.assert_allclose([t.score for t in first], [t.score for t in second], atol=2e-3)


def test_where_no_crf_is_best_nothing_is_refined(street: Path, trained: Path) -> None:
    image = read_image(sorted((street / "images" / "val").iterdir())[0])
    plain = atrous.predict(trained, image, probabilities=True, device="cpu").probabilities
    write_crf(trained, {"crf": None})
    same = atrous.predict(trained, image, probabilities=True, device="cpu", crf=True).probabilities
    np.testing.assert_array_equal(same, plain)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (5, 6), (5, 6, 1), (5, 6, 3), (5, 6, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_odd_images(shape: tuple[int, ...], dtype: Any) -> None:
    image = picture(*shape).astype(dtype)
    assert atrous.predict(bright, image, space=SPACE, crf="mild").labels.shape == shape[:2]


def test_a_refiner_s_complaint_is_told_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "in" / "a.png", picture(5, 5, 3))
    outcome = atrous.predict(
        bright, tmp_path / "in", out=tmp_path / "out", space=SPACE, crf=lambda image, probabilities: image
    )
    words = (
        f"{tmp_path}/in/a.png: the refiner returned (5, 5, 3) for probabilities of (2, 5, 5); the shapes must be equal"
    )
    assert list(outcome.failed.values()) == [words]


def test_predict_from_the_command_line(run: Run, street: Path, trained: Path, tmp_path: Path) -> None:
    photos, out = street / "images" / "val", tmp_path / "out"
    code, said, _ = run("predict", trained, photos, "--out", out, "--crf", "--quiet")
    assert code == 0
    assert said.splitlines()[-1].startswith(f"refined with {MILD}, since {trained} has no tuned numbers")
    code, said, _ = run("predict", trained, photos, "--out", out, "--crf", "deeplab_v2", "--json")
    assert json.loads(said)["refined"].startswith("deeplab_v2 (w1 4, sigma_alpha 67")
    code, said, _ = run("predict", trained, photos, "--out", out, "--json")
    assert json.loads(said)["refined"] is None
    code, _, err = run("predict", trained, photos, "--out", out, "--crf", "strong")
    assert code == 2
    assert "crf 'strong' is not known; there are mild" in err


# Evaluate -------------------------------------------------------------------------------------------------------------


def test_evaluate_scores_both_and_runs_the_network_once(
    street: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atrous.models import Segmenter

    calls: list[Any] = []
    logits = Segmenter.logits
    monkeypatch.setattr(Segmenter, "logits", lambda self, images: calls.append(images) or logits(self, images))
    told: list[tuple[int, int]] = []
    both = atrous.evaluate(
        trained, street, crf="mild", device="cpu", progress=lambda done, total: told.append((done, total))
    )
    assert isinstance(both, Comparison)
    assert len(calls) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    plain = atrous.evaluate(trained, street, device="cpu").scores
    assert abs(both.before.scores.confusion - plain.confusion).sum() <= 0.001 * plain.confusion.sum()
    names = sorted(path.stem for path in (street / "images" / "val").iterdir())
    expected = np.zeros_like(plain.confusion)
    for name in names:
        image, truth = (street / kind / "val" / f"{name}.png" for kind in ("images", "masks"))
        found = atrous.predict(trained, image, crf="mild", device="cpu").labels
        expected += Scores.of(np.array(Image.open(truth)), found, plain.space).confusion
    np.testing.assert_array_equal(both.after.scores.confusion, expected)
    assert both.note is None


def test_evaluate_from_the_command_line(run: Run, street: Path, trained: Path) -> None:
    code, said, _ = run("evaluate", trained, street, "--crf", "--quiet")
    assert code == 0
    lines = said.splitlines()
    assert lines[0].startswith(f"refined with {MILD}, since")
    assert lines[2].split() == ["before", "after", "change"]
    assert lines[3].startswith("mean IoU ")
    assert "boundary F" in said
    code, said, _ = run("evaluate", trained, street, "--crf", "guided", "--json")
    assert set(json.loads(said)) >= {"refiner", "before", "after", "change", "classes"}


def test_scores_of_images_that_were_tuned_on_say_so(street: Path, trained: Path) -> None:
    names = read_json(trained / "split.json")["val"]
    write_crf(trained, {"crf": NUMBERS, "tuned_on": {"images": names[:2]}})
    both = atrous.evaluate(trained, street, crf=True, device="cpu")
    words = "2 of these 3 images were used to tune these numbers, so the gain is flattered: score other images"
    assert isinstance(both, Comparison)
    assert str(both.note).startswith(words)
    assert words in both.as_text()
    assert both.as_json()["note"] == both.note
    assert atrous.evaluate(trained, street, split="train", crf=True, device="cpu").note is None


def test_images_of_the_same_names_in_other_data_were_not_tuned_on(street: Path, trained: Path, tmp_path: Path) -> None:
    other = write_scenes(tmp_path / "other", train=4, val=3, size=(36, 44))
    atrous.crf_tune(trained, street, images=2, grid=SMALL, device="cpu")
    notes = [atrous.evaluate(trained, data, crf=True, device="cpu").note for data in (street, other)]
    assert str(notes[0]).startswith("2 of these 3 images were used to tune")
    assert notes[1] is None
    copy = shutil.copytree(street, tmp_path / "copy")
    assert atrous.evaluate(trained, copy, crf=True, device="cpu").note == notes[0]
    found = Chosen(refiner=None, words="", tuned_on=("a", "b"), data="here", sha256="1")
    assert found.note(["a", "c"], data="here", sha256="2") is not None  # an image was added, say
    assert found.note(["a", "c"], data="there", sha256="2") is None
    assert found.note(["a", "c"], data="there") is not None


# Tune -----------------------------------------------------------------------------------------------------------------


def test_crf_tune_stores_what_crf_takes(street: Path, trained: Path) -> None:
    found = atrous.crf_tune(trained, street, images=2, grid=SMALL, device="cpu")
    stored = read_json(trained / "crf.json")
    assert stored["format"] == 1
    assert stored["version"] == atrous.__version__
    assert stored["crf"] == (None if found.best is None else found.best._asdict())
    assert stored["tuned_on"]["split"] == "val"
    assert stored["tuned_on"]["images"] == list(found.images)
    assert stored["tuned_on"]["data"] == str(street)
    assert (stored["tuned"]["images"], stored["held_out"]["images"]) == (2, 1)
    assert stored["tuned"]["after"]["mean_iou"] >= stored["tuned"]["before"]["mean_iou"]
    both = atrous.evaluate(trained, street, crf=True, device="cpu")
    assert isinstance(both, Comparison)
    assert str(both.note).startswith("2 of these 3 images")
    assert "crf.json" in {path.name for path in trained.iterdir()}
    assert not list(trained.glob("*/crf.json"))


def test_crf_tune_from_the_command_line(
    run: Run, street: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrous.tuning.result.Grid", lambda: SMALL)
    code, said, _ = run("crf-tune", trained, street, "--images", 1, "--plot", tmp_path / "surface.png", "--quiet")
    assert code == 0
    assert "On the other images of the split:" in said
    assert said.splitlines()[-1] == f"stored in {trained}; next: atrous predict {trained} IMAGES --out out/ --crf"
    assert (tmp_path / "surface.png").is_file()
    code, said, _ = run("crf-tune", trained, street, "--objective", "boundary_f", "--json")
    assert code == 0
    found = json.loads(said)
    assert found["held_out"] is None
    assert found["objective"] == "boundary_f"
    assert found["trials"][0]["score"] == pytest.approx(found["tuned"]["before"]["boundary_f"], abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "DATA"], "nowhere: no such model folder or run"),
        (["RUN", "DATA", "--split", "test"], "no images in the split 'test'; there are train (4), val (3)"),
        (["RUN", "DATA", "--images", "0"], "images 0 of 3 came; tuning needs at least 1"),
        (["RUN", "DATA", "--plot", "surface.bmp"], "--plot surface.bmp: a figure is written as"),
        (["RUN", "DATA", "--objective", "dice"], "objective"),
    ],
)
def test_what_crf_tune_refuses(run: Run, street: Path, trained: Path, arguments: list[str], words: str) -> None:
    places = {"DATA": str(street), "RUN": str(trained)}
    code, _, err = run("crf-tune", *(places.get(argument, argument) for argument in arguments))
    assert code == 2
    assert words in err
    assert not (trained / "crf.json").exists()


def test_a_model_folder_keeps_its_numbers_itself(trained: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(trained / "best", tmp_path / "model"))
    assert write_crf(alone, {"crf": NUMBERS}) == alone / "crf.json"
    assert chosen(True, alone).refiner == DenseCRF(**NUMBERS)


def test_an_image_that_a_network_does_not_know_is_told_by_name(
    run: Run, street: Path, trained: Path, tmp_path: Path
) -> None:
    segmenter, config = open_model(trained)
    with torch.no_grad():
        segmenter.net.classify.bias.fill_(float("nan"))
    broken = tmp_path / "broken"
    save_model(broken, segmenter, config)
    first = sorted((street / "images" / "val").iterdir())[0]
    for arguments in (["crf-tune"], ["evaluate", "--crf=mild"]):
        code, _, err = run(arguments[0], broken, street, *arguments[1:])
        assert code == 2
        assert f"{first}: the network's probabilities hold NaN or infinity" in err


def test_masks_and_strokes_refuse_what_a_refiner_must_not_return() -> None:
    from atrous.tuning.refining import refining_function

    def nothing(image: Any, probabilities: Any) -> Any:
        return probabilities * np.float32("nan")

    strokes = np.full((6, 8), 255, np.uint8)
    strokes[0, 0], strokes[5, 7] = 0, 1
    given = {"labels": strokes % 2, "strokes": strokes, "probabilities": np.full((2, 6, 8), 0.5, np.float32)}
    for kind, values in given.items():
        function, _ = refining_function(kind, nothing, {}, 0.7)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="the refiner returned NaN or infinity in 96 of 96 values"):
            function(picture(6, 8, 3), values, 2)


def test_imported_weights_that_were_tuned_can_be_imported_again(trained: Path, tmp_path: Path) -> None:
    from atrous.verbs.importing import _refuse_in_the_way

    segmenter, config = open_model(trained)
    save_model(tmp_path / "model", segmenter, replace(config, recipe=None))
    write_crf(tmp_path / "model", {"crf": NUMBERS})
    _refuse_in_the_way(tmp_path / "model", tmp_path / "weights.pth")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(AtrousError, match="model: holds more than imported weights"):
        _refuse_in_the_way(tmp_path / "model", tmp_path / "weights.pth")


def test_a_new_run_in_the_same_place_begins_without(street: Path, trained: Path) -> None:
    write_crf(trained, {"crf": NUMBERS})
    small: dict[str, Any] = {"epochs": 1, "batch": 2, "crop": 33, "width": 1 / 16, "workers": 0, "device": "cpu"}
    atrous.train(street, out=trained, overwrite=True, **small)
    assert read_crf(trained) is None
