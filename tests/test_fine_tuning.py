"""Training that starts from a model: classes by their names, its preprocessing, trunks that do not learn, resuming."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from atrous import verbs
from atrous.contract import LabelSpace, Preprocessing, Recipe
from atrous.data import write_image
from atrous.models import Segmenter, build
from atrous.runs import course
from atrous.store import Config, plain, read_config, save_model
from atrous.training import Step

RECIPE = Recipe(
    encoder="resnet18", width=1 / 8, crop=33, batch=2, epochs=1, learning_rate=0.02, warm_up=0, precision="float32"
)
OPTIONS: dict[str, Any] = {"device": "cpu", "workers": 0}
CAFFE = Preprocessing(order="BGR", mean=(104 / 255, 117 / 255, 123 / 255), std=(1 / 255, 1 / 255, 1 / 255))
HEAD = ("classify.weight", "classify.bias")


class Begun(BaseException):
    pass


def bands(root: Path, names: Sequence[str]) -> Path:
    """Write six pictures with a band for each class, and the classes' names."""
    for index in range(6):
        random = np.random.default_rng(index)
        labels = np.repeat(np.arange(len(names), dtype=np.uint8), 40 // len(names) + 1)[None, :40].repeat(36, 0)
        image = labels[..., None] * 60 + random.integers(0, 60, (36, 40, 3))
        for kind, array in (("images", image.astype(np.uint8)), ("masks", labels)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / kind / f"{index}.png")
    (root / "classes.json").write_text(json.dumps({"names": list(names), "values": list(range(len(names)))}))
    return root


def begun(data: Path, out: Path, **changes: Any) -> tuple[dict[str, Tensor], str]:
    """Return the weights that a run begins with, and what it said of them."""
    said = []

    def listener(event: Any) -> None:
        if isinstance(event, Step):
            raise Begun
        said.append(event.text)

    with pytest.raises(Begun):
        verbs.train(data, out=out, recipe=replace(RECIPE, **changes), listener=listener, **OPTIONS)
    return load_file(out / "last" / "model.safetensors"), "\n".join(said)


@pytest.fixture(autouse=True)
def _without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the curves undrawn, which would take most of the time."""
    monkeypatch.setattr(course, "draw_curves", lambda *_: None)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bands(tmp_path_factory.mktemp("street"), ("sky", "road", "car"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of sky, road and car that takes its images as Caffe's do."""
    return model_in(tmp_path_factory.mktemp("models") / "street", ("sky", "road", "car"))


def model_in(folder: Path, names: Sequence[str], preprocessing: Preprocessing = CAFFE) -> Path:
    torch.manual_seed(7)
    options = {"encoder": "resnet18", "width": 1 / 8, "pretrained": False}
    net = build("deeplab_v3plus", len(names), **options)
    segmenter = Segmenter(net, LabelSpace(names=tuple(names)), preprocessing)
    config = Config(
        model="deeplab_v3plus",
        options=options,
        space=segmenter.space,
        preprocessing=preprocessing,
        geometry=plain(segmenter.geometry),
    )
    save_model(folder, segmenter, config)
    return folder


def test_classes_of_other_numbers_are_taken_by_name(model: Path, tmp_path: Path) -> None:
    data = bands(tmp_path / "data", ("tree", "car", "lamp", "sky"))
    here, said = begun(data, tmp_path / "run", pretrained=str(model))
    before = load_file(model / "model.safetensors")
    assert "2 classes are taken by name, new is tree, lamp" in said
    for name in HEAD:
        assert torch.equal(here[name][[1, 3]], before[name][[2, 0]])
    fresh, _ = begun(data, tmp_path / "fresh")
    for name in HEAD:
        assert torch.equal(here[name][[0, 2]], fresh[name][[0, 2]])
    assert all(torch.equal(here[name], before[name]) for name in here if name not in HEAD)


def test_as_many_classes_under_other_names_keep_their_places(model: Path, tmp_path: Path) -> None:
    here, said = begun(bands(tmp_path / "data", ("a", "b", "c")), tmp_path / "run", pretrained=str(model))
    assert "as many classes as before, under other names: each starts from the one in its place" in said
    before = load_file(model / "model.safetensors")
    assert all(torch.equal(here[name], before[name]) for name in here)


def test_classes_of_which_none_was_there_start_anew(model: Path, tmp_path: Path) -> None:
    data = bands(tmp_path / "data", ("cell", "gap"))
    here, said = begun(data, tmp_path / "run", pretrained=str(model))
    fresh, _ = begun(data, tmp_path / "fresh")
    before = load_file(model / "model.safetensors")
    assert "classes cell, gap start anew" in said
    assert all(torch.equal(here[name], (fresh if name in HEAD else before)[name]) for name in here)


def test_preprocessing_is_that_of_the_model_and_stays_with_the_run(street: Path, model: Path, tmp_path: Path) -> None:
    out = verbs.train(street, out=tmp_path / "run", recipe=replace(RECIPE, pretrained=str(model)), **OPTIONS)
    assert read_config(out / "best").preprocessing == CAFFE
    again = verbs.train(street, out=tmp_path / "again", recipe=replace(RECIPE, pretrained=str(out)), **OPTIONS)
    assert read_config(again / "best").preprocessing == CAFFE


def test_the_padding_is_the_networks_own(street: Path, tmp_path: Path) -> None:
    other = model_in(tmp_path / "model", ("sky", "road", "car"), replace(CAFFE, padding="mirror"))
    begun(street, tmp_path / "run", pretrained=str(other))
    assert read_config(tmp_path / "run" / "last").preprocessing == CAFFE


def test_deep_images_keep_the_order_of_the_models_channels(street: Path, model: Path, tmp_path: Path) -> None:
    data = shutil.copytree(street, tmp_path / "data")
    for path in (data / "images").iterdir():
        with Image.open(path) as image:
            array = np.asarray(image).astype(np.uint16) * np.array([200, 100, 50], np.uint16)
        path.unlink()
        write_image(path, array)
    begun(data, tmp_path / "plain")
    begun(data, tmp_path / "run", pretrained=str(model))
    own, taken = (read_config(tmp_path / name / "last").preprocessing for name in ("plain", "run"))
    assert (own.order, taken.order, taken.high) == ("RGB", "BGR", own.high)
    assert own.mean != own.mean[::-1]
    assert (taken.mean, taken.std) == (own.mean[::-1], own.std[::-1])


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_frozen_trunk_does_not_change_until_it_learns(street: Path, model: Path, tmp_path: Path, epochs: int) -> None:
    recipe = replace(RECIPE, pretrained=str(model), freeze=("encoder",), freeze_epochs=epochs, epochs=2)
    out, start = tmp_path / "run", load_file(model / "model.safetensors")
    trunk = {name for name in start if name.startswith("encoder.")}
    assert any(name.endswith("running_var") for name in trunk)
    verbs.train(street, out=out, recipe=recipe, stop_after=1, **OPTIONS)
    first = load_file(out / "last" / "model.safetensors")
    assert {name for name in start if torch.equal(start[name], first[name])} == trunk
    verbs.train(street, out=out, resume=True, **OPTIONS)
    second = load_file(out / "last" / "model.safetensors")
    changed = {name for name in trunk if not torch.equal(first[name], second[name])}
    # Not all of them: a scale of 1 may be as it was, where its step is less than float32 tells.
    learning = {name for name in trunk if ".conv" in name or name.endswith(("running_mean", "num_batches_tracked"))}
    assert changed >= learning if epochs else not changed


@pytest.mark.parametrize("changes", [{"freeze_epochs": 1}, {"ema": 0.9, "freeze_norm": True}])
def test_a_run_goes_on_when_what_it_started_from_is_gone(
    street: Path, model: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    start = shutil.copytree(model, tmp_path / "start")
    recipe = replace(RECIPE, pretrained=str(start), freeze=("encoder",), epochs=2, **changes)
    whole = verbs.train(street, out=tmp_path / "whole", recipe=recipe, **OPTIONS)
    out = verbs.train(street, out=tmp_path / "run", recipe=recipe, stop_after=1, **OPTIONS)
    shutil.rmtree(start)
    verbs.train(street, out=out, resume=True, **OPTIONS)
    for name in ("last/model.safetensors", "last/state.safetensors", "best/model.safetensors", "last/config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_weights_of_others_that_were_imported_are_a_start(street: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    trunk = timm.create_model("mobilenetv3_small_050")
    torch.save(trunk.state_dict(), tmp_path / "trunk.pth")
    start = verbs.import_weights(
        tmp_path / "trunk.pth",
        out=tmp_path / "imported",
        model="deeplab_v3plus",
        encoder="mobilenetv3_small_050",
        classes=["road", "person"],
    )
    names = {"encoder": "mobilenetv3_small_050", "width": 1.0, "pretrained": str(start)}
    here, said = begun(street, tmp_path / "run", **names)
    assert "1 classes are taken by name" in said
    before = load_file(start / "model.safetensors")
    assert all(torch.equal(here[name], before[name]) for name in here if name.startswith("encoder."))
    assert torch.equal(here[HEAD[0]][1], before[HEAD[0]][0])
    assert read_config(tmp_path / "run" / "last").preprocessing == read_config(start).preprocessing
