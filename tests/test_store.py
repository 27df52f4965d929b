"""Model folders: what goes in comes out, nothing is pickled, and nothing that was written is lost."""

import errno
import json
import logging
import pickle
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from atrous.contract import AtrousError, LabelSpace, Preprocessing, Recipe
from atrous.evaluation import DEFINITIONS
from atrous.models import Segmenter, build
from atrous.store import (
    Config,
    explained,
    model_folder,
    open_model,
    plain,
    read_config,
    read_recipe,
    save_model,
    settled,
    whole_folder,
)

SPACE = LabelSpace(
    names=("sky", "road", "crème"), colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)), values=(3, 5, 7), ignore=0
)
OPTIONS = {"in_channels": 3, "encoder": "resnet18", "width": 1 / 8, "pretrained": False}


def made(seed=0, *, width=1 / 8):
    torch.manual_seed(seed)
    net = build("deeplab_v3plus", 3, **{**OPTIONS, "width": width})
    segmenter = Segmenter(net, SPACE, Preprocessing(order="BGR", low=3, high=900)).eval()
    scores = {**dict.fromkeys(DEFINITIONS, 0.625), "definitions": DEFINITIONS}
    config = Config(
        model="deeplab_v3plus",
        options={**OPTIONS, "width": width},
        space=SPACE,
        preprocessing=segmenter.preprocessing,
        geometry=plain(segmenter.geometry),
        recipe=plain(Recipe()),
        scores=scores,
        versions={"atrous": "0"},
        fingerprint={"splits": {"train": 4, "val": 1}, "sha256": "abcdef0123456789ffff"},
    )
    return segmenter, config


def logits_of(segmenter):
    images = torch.rand(1, 3, 30, 41, generator=torch.Generator().manual_seed(0)) * 900
    with torch.no_grad():
        return segmenter.logits(images)


@pytest.fixture(scope="module")
def original():
    return made()


@pytest.fixture
def folder(original, tmp_path):
    save_model(tmp_path / "model", *original)
    return tmp_path / "model"


def test_what_goes_in_comes_out(original, folder):
    segmenter, config = open_model(folder)
    assert not segmenter.training
    torch.testing.assert_close(logits_of(segmenter), logits_of(original[0]), rtol=0, atol=0)
    assert config == original[1]
    assert (segmenter.space, segmenter.preprocessing) == (SPACE, original[0].preprocessing)


def test_a_folder_holds_three_files_and_no_pickle(folder, monkeypatch):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "README.md").read_text(encoding="utf-8")
    content = (folder / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    assert 8 + int.from_bytes(content[:8], "little") + max(ends) == len(content)

    def refuse(*arguments, **options):
        raise RuntimeError("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    open_model(folder)


def test_config_holds_what_is_needed(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    wanted = {
        "architecture",
        "options",
        "classes",
        "colours",
        "values",
        "ignore",
        "preprocessing",
        "geometry",
        "recipe",
    }
    assert wanted | {"format", "encoding", "scores", "versions", "fingerprint"} == set(config)
    assert config["classes"] == ["sky", "road", "crème"]
    assert config["geometry"]["stride"] == 4


def test_the_card_names_classes_scores_and_data(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "sky, road, crème" in card
    assert f"| mean iou | 62.50 | {DEFINITIONS['mean_iou']} |" in card
    assert "4 train, 1 val images; fingerprint abcdef0123456789" in card


def test_damaged_weights(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for damage in (content[:-100], content[:50], b"", b"\x80\x04pickle"):
        path.write_bytes(damage)
        with pytest.raises(
            AtrousError, match=r"model.safetensors: a damaged checkpoint \(.*take another copy, or `last"
        ):
            open_model(folder)
    path.unlink()
    with pytest.raises(
        AtrousError, match=r"model.safetensors: missing; a model folder holds model.safetensors, config"
    ):
        open_model(folder)


def test_weights_of_another_network(folder, tmp_path):
    save_model(tmp_path / "narrow", *made(width=1 / 16))
    (folder / "model.safetensors").write_bytes((tmp_path / "narrow" / "model.safetensors").read_bytes())
    with pytest.raises(
        AtrousError, match=r"weights of another network: \d+ tensors differ, first 'aspp.*in the network"
    ):
        open_model(folder)
    safetensors.torch.save_file({"other": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(AtrousError, match=r"first 'aspp.*\(missing in the file, \(.*in the network\)"):
        open_model(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: {"model_type": "bert"}, r"'format' is missing; is it the config.json of another program\?"),
        (lambda config: [1], r"no settings are in it; is it the config.json of another program\?"),
        (lambda config: {**config, "format": 99}, "format 99; this version reads up to 1: update atrous"),
        (lambda config: {**config, "classes": ["a", "a", "b"]}, "names repeat 'a'; every class needs its own"),
        (lambda config: {**config, "preprocessing": {"low": "x"}}, "low: input should be a valid number.*'x' came"),
        (lambda config: {**config, "architecture": "deplab_v3plus"}, r"cannot be built: model 'deplab_v3plus' is not"),
        (lambda config: {**config, "options": {"depth": 3}}, "cannot be built: .*depth"),
        (lambda config: {key: config[key] for key in config if key != "classes"}, "'classes' is missing"),
    ],
)
def test_config_of_another_kind(folder, change, words):
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))))
    with pytest.raises(AtrousError, match=f"config.json: .*{words}"):
        open_model(folder)


def test_config_that_is_no_json(folder):
    for damage in (b"{", b"", b"\xff\xfe"):
        (folder / "config.json").write_bytes(damage)
        with pytest.raises(AtrousError, match=r"config.json: not readable JSON \("):
            read_config(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"class_weights": "foo"},
            "class_weights: input should be 'none', 'median' or 'root', or a valid tuple, 'foo' came",
        ),
        (
            {"class_weights": (1.0, -2.0)},
            "class_weights: input should be greater than or equal to 0, -2.0 came at place 2",
        ),
        ({"crop": (0, 256)}, "crop: input should be greater than or equal to 1, 0 came at place 1"),
        ({"multi_scale": (0.0, 1.0)}, "multi_scale: input should be greater than 0, 0.0 came at place 1"),
        ({"multi_scale": (2.0, 1.0)}, "multi_scale (2.0, 1.0) is (smallest, largest)"),
        ({"batch": 0, "ema": 1.0}, "batch: input should be greater than or equal to 1, 0 came; "
         "ema: input should be less than 1, 1.0 came"),
        ({"output_stride": 7}, "output_stride: input should be 8, 16 or 32, 7 came"),
    ],
)  # fmt: skip
def test_what_a_recipe_refuses_in_one_line(changes, words):
    with pytest.raises(ValidationError) as caught:
        Recipe(**changes)
    assert explained(caught.value) == words


def test_the_command_line_calls_fields_by_their_flags():
    with pytest.raises(ValidationError) as caught:
        Recipe(loss="x", warm_up=-1, options=3)
    assert explained(caught.value, flags=True) == (
        "--option: input should be a valid dictionary, 3 came; --loss: 'x' is no loss; there are cross_entropy, focal, "
        "hard_pixels, dice, jaccard, tversky, lovasz, and sums like cross_entropy+0.5*dice; "
        "--warm-up: input should be greater than or equal to 0, -1 came"
    )


def test_a_stored_recipe_is_checked(tmp_path):
    (tmp_path / "recipe.json").write_text('{"epochs": 0, "batch": "many"}')
    with pytest.raises(AtrousError, match=r"recipe.json: batch: .*'many' came; epochs: .*0 came"):
        read_recipe(tmp_path)


def test_where_a_path_leads(folder, tmp_path, caplog):
    run = tmp_path / "run"
    with pytest.raises(AtrousError, match=r"run: no such model folder or run"):
        model_folder(run)
    run.mkdir()
    with pytest.raises(
        AtrousError, match=r"run: neither a model folder \(config.json is missing\) nor a run \(no best/ or"
    ):
        model_folder(run)
    folder.rename(run / "last")
    with caplog.at_level(logging.WARNING, "atrous"):
        assert model_folder(run) == run / "last"
    assert caplog.messages == [f"{run}: no best/ yet, taking last/"]
    (run / "last").rename(run / "best")
    assert model_folder(str(run)) == model_folder(run / "best") == run / "best"


# Replacing a folder ---------------------------------------------------------------------------------------------------


def write(folder, text):
    with whole_folder(folder) as temporary:
        (temporary / "a").write_text(text)


def half_written(folder, error):
    with whole_folder(folder) as temporary:
        (temporary / "a").write_text("half")
        raise error


def test_a_failure_inside_keeps_the_old(tmp_path):
    folder = tmp_path / "model"
    write(folder, "old")
    for error in (RuntimeError("bad luck"), KeyboardInterrupt("bad luck")):
        with pytest.raises(type(error), match="bad luck"):
            half_written(folder, error)
        assert (folder / "a").read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_between_the_two_moves_is_settled(tmp_path, folder):
    folder.rename(tmp_path / "best.old")
    assert model_folder(tmp_path) == tmp_path / "best.old"
    assert settled(tmp_path / "best") == tmp_path / "best"
    assert not (tmp_path / "best.old").exists()
    write(tmp_path / "other", "old")
    (tmp_path / "other").rename(tmp_path / "other.old")
    with pytest.raises(RuntimeError, match="bad luck"), whole_folder(tmp_path / "other"):
        raise RuntimeError("bad luck")
    assert (tmp_path / "other" / "a").read_text() == "old"


def test_a_kill_after_the_second_move_is_settled(tmp_path):
    write(tmp_path / "model", "new")
    write(tmp_path / "model.old", "old")
    (tmp_path / "model.new").mkdir()
    (tmp_path / "model.new" / "b").write_text("half")
    write(tmp_path / "model", "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["a"]
    assert (tmp_path / "model" / "a").read_text() == "newer"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_keeps_the_old(original, folder, monkeypatch, error):
    def full(tensors, path, **options):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(
        AtrousError, match=r"model: could not be written \(.*No space left.*what was there before is un"
    ):
        save_model(folder, made(1)[0], original[1])
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    torch.testing.assert_close(logits_of(open_model(folder)[0]), logits_of(original[0]), rtol=0, atol=0)


def test_a_place_that_cannot_be_written(tmp_path, original):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AtrousError, match=r"file/model: could not be written \("):
        save_model(tmp_path / "file" / "model", *original)


def test_also_writes_into_the_same_folder(original, tmp_path):
    save_model(
        tmp_path / "m", original[0], replace(original[1], scores=None), also=lambda to: (to / "x").write_text("1")
    )
    assert (tmp_path / "m" / "x").read_text() == "1"
    assert "## Scores" not in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
