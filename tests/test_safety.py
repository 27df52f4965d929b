"""What must never happen: somebody's masks replaced, data deleted with a run, classes scored under other names."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import atrous
from atrous import cli, flags, runs, store
from atrous.contract import AtrousError, LabelSpace, Prediction, Preprocessing, Sample
from atrous.data import open_dataset, read_image, write_image
from atrous.data.augmentation import LIGHT, crop_sample, placement, warped, warped_labels
from atrous.data.facts import fingerprint
from atrous.data.scenes import write_scenes
from atrous.layers.trunk import trunk
from atrous.models import Segmenter, build

SMALL: dict[str, Any] = {"epochs": 1, "batch": 4, "crop": 33, "width": 1 / 8, "workers": 0}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of eight small street scenes."""
    return write_scenes(tmp_path_factory.mktemp("data") / "street", train=6, val=2, size=(40, 52))


@pytest.fixture(scope="module")
def run(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of one epoch on it."""
    return atrous.train(street, out=tmp_path_factory.mktemp("runs") / "run", **SMALL)


def bright(images: Any) -> Any:
    return np.stack([255.0 - images[:, 0], images[:, 0]], 1).astype(np.float32) / 255


def test_predictions_never_replace_the_masks_of_a_dataset(street: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(street, tmp_path / "street")
    before = {path: path.read_bytes() for path in copy.rglob("*.png")}
    with pytest.raises(AtrousError, match=r"is a dataset .folders., whose masks predictions would replace"):
        atrous.predict(bright, copy / "images", out=copy, space=LabelSpace(names=("dark", "light")))
    assert before == {path: path.read_bytes() for path in copy.rglob("*.png")}


def test_a_second_prediction_into_the_same_folder_is_fine(street: Path, tmp_path: Path) -> None:
    for _ in range(2):
        outcome = atrous.predict(bright, street / "images", out=tmp_path, space=LabelSpace(names=("dark", "light")))
        assert len(outcome.written) == 16


def test_overwrite_keeps_data_that_lies_in_the_run(street: Path, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    inside = shutil.copytree(street, copy / "data")
    with pytest.raises(AtrousError, match=r"lies inside the run's folder .*; choose another --out"):
        atrous.train(inside, out=copy, overwrite=True, **SMALL)
    (copy / "notes.txt").write_text("mine")
    atrous.train(street, out=copy, overwrite=True, **SMALL)
    assert (copy / "notes.txt").read_text() == "mine"
    assert (inside / "classes.json").is_file()
    assert len((copy / "log.jsonl").read_text().splitlines()) == 1


def test_classes_in_another_order_are_not_scored(street: Path, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(street, tmp_path / "street")
    classes = json.loads((copy / "classes.json").read_text())
    classes["names"] = classes["names"][::-1]
    (copy / "classes.json").write_text(json.dumps(classes))
    with pytest.raises(AtrousError, match=r"classes.json: the classes are pole, .* a score needs the same classes"):
        atrous.evaluate(run, copy)


def test_the_folder_says_how_its_masks_are_written(street: Path, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(street, tmp_path / "street")
    classes = json.loads((copy / "classes.json").read_text())
    classes["ignore"] = 2
    classes["values"] = [0, 1, 200, 3, 4, 5, 6, 7]
    (copy / "classes.json").write_text(json.dumps(classes))
    plain, other = atrous.evaluate(run, street).scores, atrous.evaluate(run, copy).scores
    assert plain.confusion[2].sum() > 0
    assert other.confusion[2].sum() == 0
    np.testing.assert_array_equal(np.delete(plain.confusion, 2, 0), np.delete(other.confusion, 2, 0))


def test_a_split_is_that_of_the_same_files_only(run: Path, tmp_path: Path) -> None:
    other = write_scenes(tmp_path / "other", train=6, val=2, size=(40, 52), seed=100)
    for kind in ("images", "masks"):
        for name in ("0000", "0001"):
            shutil.copy(other / kind / "val" / f"{name}.png", other / kind / "val" / f"9{name}.png")
    assert atrous.evaluate(run, other).scores.images == 4


@pytest.mark.parametrize(
    ("high", "dtype", "words"),
    [
        (255.0, np.uint16, "uint16 came, and this network was trained on 8-bit images"),
        (4095.0, np.uint8, "deeper images"),
    ],
)
def test_images_of_another_depth_are_refused(high: float, dtype: type, words: str) -> None:
    net = build("deeplab_v3plus", 2, encoder="resnet18", width=1 / 8)
    segmenter = Segmenter(net, LabelSpace(names=("a", "b")), Preprocessing(high=high)).eval()
    with pytest.raises(ValueError, match=words):
        segmenter.from_numpy(np.zeros((1, 3, 4, 4), dtype))
    assert segmenter.from_numpy(np.zeros((1, 3, 4, 4), np.float32)).dtype == torch.float32


def test_crops_of_a_net_with_a_margin_reach_the_border_and_see_its_mirror() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(6, 10, 1)
    warp = placement((6, 10), (12, 16), factor=1.0, flip=False, at=(0.0, 0.0), margin=3)
    seen = warped(image, warp, (12, 16), fill=(0.0,), mirror=True)
    np.testing.assert_array_equal(seen, np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="reflect"))
    labels = warped_labels(np.ones((6, 10), np.uint8), warp, (12, 16))
    np.testing.assert_array_equal(labels, np.pad(np.ones((6, 10), np.uint8), 3, constant_values=255))


def test_every_row_of_an_image_is_learnt_through_a_margin() -> None:
    sample = Sample(image=np.zeros((50, 50, 1), np.uint8), labels=np.arange(50, dtype=np.uint8)[:, None].repeat(50, 1))
    rows: set[int] = set()
    unscaled = replace(LIGHT, scale=(1, 1))
    for seed in range(120):
        _, labels = crop_sample(
            sample, (40, 40), np.random.default_rng(seed), augmentation=unscaled, margin=10, mirror=True
        )
        rows |= set(np.unique(labels[10:-10]).tolist())
    assert set(range(50)) <= rows


def test_a_reader_takes_the_old_folder_and_moves_nothing(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "best").rename(copy / "best.old")
    assert store.model_folder(copy) == copy / "best.old"
    assert (copy / "best.old").is_dir()


def test_weights_stand_for_their_folder(run: Path) -> None:
    assert store.model_folder(run / "best" / "model.safetensors") == run / "best"


def test_resume_needs_no_pretrained_file(street: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights = tmp_path / "resnet18.safetensors"
    save_file(trunk("resnet18", width=1 / 8).body.state_dict(), weights)
    atrous.train(street, out=tmp_path / "run", encoder="resnet18", pretrained=str(weights), **SMALL)
    weights.unlink()
    atrous.train(street, out=tmp_path / "run", resume=True, epochs=2, workers=0)
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2


def test_pretrained_colours_are_summed_for_grey_and_names_meet_without_dots(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    body = trunk("convnext_atto").body
    state = {
        key.replace("stem_", "stem.").replace("stages_", "stages."): value for key, value in body.state_dict().items()
    }
    save_file(state, tmp_path / "atto.safetensors")
    grey = trunk("convnext_atto", in_channels=1, pretrained=str(tmp_path / "atto.safetensors")).body
    torch.testing.assert_close(grey.stem_0.weight, body.stem_0.weight.sum(1, keepdim=True))


def test_out_of_memory_fails_one_image_and_not_the_rest(street: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def hungry(images: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return bright(images)

    space = LabelSpace(names=("dark", "light"))
    outcome = atrous.predict(hungry, street / "images" / "val", out=tmp_path, space=space)
    assert len(outcome.written) == 2
    assert "too large for this machine's memory" in next(iter(outcome.failed.values()))


def test_an_overlay_too_large_for_jpeg_is_a_png(tmp_path: Path) -> None:
    write_image(tmp_path / "strip.png", np.zeros((2, 66_000), np.uint8))
    space = LabelSpace(names=("dark", "light"))
    outcome = atrous.predict(bright, tmp_path / "strip.png", out=tmp_path / "out", space=space)
    assert [path.name for path in outcome.written] == ["strip.png", "strip.png"]
    assert read_image(outcome.written[1]).shape[1] == 66_000


def test_without_torch_a_command_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(original: Callable[..., Any]) -> Callable[..., Any]:
        def load(name: str, *arguments: Any, **options: Any) -> Any:
            if name == "atrous.models":
                raise ModuleNotFoundError("No module named 'torch'", name="torch")
            return original(name, *arguments, **options)

        return load

    monkeypatch.setattr(builtins, "__import__", without(builtins.__import__))
    with pytest.raises(SystemExit) as stop:
        cli.main(["models"])
    assert stop.value.code == 2
    assert 'torch is not installed, and this command needs it: pip install "atrous[train]"' in capsys.readouterr().err


def test_the_fingerprint_sums_in_bands_as_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_scenes(tmp_path / "s", train=2, val=1, size=(20, 30))
    whole = fingerprint(open_dataset(root))
    monkeypatch.setattr("atrous.data.facts._BAND", 100)
    banded = fingerprint(open_dataset(root))
    np.testing.assert_allclose(whole["mean"], banded["mean"])
    np.testing.assert_allclose(whole["std"], banded["std"])


def test_a_note_on_pretrained_weights_only_where_there_are_some(street: Path, tmp_path: Path) -> None:
    notes: dict[str, list[str]] = {"unet": [], "deeplab_v3plus": []}
    for model, heard in notes.items():

        def listen(event: Any, heard: list[str] = heard) -> None:
            if isinstance(event, runs.Note):
                heard.append(event.text)

        options = {**SMALL, "model": model, "width": 1 / 16 if model == "unet" else 1 / 8, "listener": listen}
        if model == "deeplab_v3plus":
            options["encoder"] = "resnet18"
        atrous.train(street, out=tmp_path / model, **options)
    assert not any("--pretrained" in text for text in notes["unet"])
    assert any("--pretrained" in text for text in notes["deeplab_v3plus"])


def test_fcn_is_trained_in_stages_from_run_to_run(street: Path, tmp_path: Path) -> None:
    options = {**SMALL, "width": 1 / 64, "crop": 33, "batch": 2, "epochs": 1}
    atrous.train(street, out=tmp_path / "32s", model="fcn32s", **options)
    told: list[Any] = []
    atrous.train(
        street, out=tmp_path / "16s", model="fcn16s", pretrained=str(tmp_path / "32s"), listener=told.append, **options
    )
    assert "starting from" in told[0].text
    assert "new are" in told[0].text
    net = build("fcn16s", 8, width=1 / 64)
    said = store.start_from(net, tmp_path / "32s")
    coarse = atrous.load(tmp_path / "32s").net.state_dict()
    for name, tensor in net.encoder.state_dict().items():
        torch.testing.assert_close(tensor, coarse[f"encoder.{name}"])
    assert said in told[0].text
    with pytest.raises(AtrousError, match="no tensor has a name and shape of this network"):
        store.start_from(build("deeplab_v3plus", 5, encoder="resnet18", width=1 / 8), tmp_path / "32s")


def test_options_of_the_builder_travel_with_the_model(street: Path, tmp_path: Path) -> None:
    options = {**SMALL, "encoder": "resnet18", "options": {"separable": True}}
    run = atrous.train(street, out=tmp_path / "run", **options)
    assert len(atrous.load(run).net.refine[0]) == 6
    with pytest.raises(ValueError, match="deeplab_v3plus has no option 'seperable'; it has in_channels, encoder,"):
        atrous.train(street, out=tmp_path / "other", **{**options, "options": {"seperable": True}})


def test_options_on_the_command_line(street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flags.options_of(["at_once=true", "deconvolution=learnt"]) == {"at_once": True, "deconvolution": "learnt"}
    assert flags.options_of(["a=No", "b=Yes", "c=None", "d=False"]) == {"a": False, "b": True, "c": None, "d": False}
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", str(street), "--out", str(tmp_path / "r"), "--option", "separable"])
    assert stop.value.code == 2
    assert "--option separable: NAME=VALUE is accepted, such as separable=true" in capsys.readouterr().err


def test_pretrained_takes_a_run_on_the_command_line(run: Path) -> None:
    assert flags.with_flag_values(["train", "data", "--pretrained", str(run)])[2] == "--pretrained"
    assert flags.with_flag_values(["train", "--pretrained", "data"])[1] == "--pretrained=true"


def test_shares_of_0_to_1_are_refused_by_a_network_of_bytes(run: Path) -> None:
    image = np.linspace(0, 1, 300).reshape(10, 10, 3)
    words = r"values of 0 to 1 came, and this network was trained on values of 0 to 255; multiply the image by 255"
    for given in (image, image.astype(np.float32), image > 0.5):
        with pytest.raises(ValueError, match=words):
            atrous.predict(run, given)
    black = atrous.predict(run, np.zeros((4, 4, 3), np.float32))
    assert isinstance(black, Prediction)


def test_a_setting_that_is_none_is_refused_with_the_nearest(street: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no setting 'bach'; did you mean 'batch'"):
        atrous.train(street, out=tmp_path / "r", bach=4)
    with pytest.raises(ValueError, match="no setting 'bach'; did you mean 'batch'"):
        atrous.train(street, out=tmp_path / "r", resume=True, bach=4)


def test_a_prediction_of_nothing_names_no_folders(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stop:
        cli.main(["predict", str(run), str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--quiet"])
    assert stop.value.code == 1
    assert capsys.readouterr().out == "0 predicted, 1 failed: nothing was written\n"
