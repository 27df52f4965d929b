"""Which classes and which split a run's data are read with: of its own folder, of a changed one, of another."""

import json
import logging
import unicodedata

import numpy as np
import pytest
from PIL import Image

from atrous import verbs
from atrous.contract import AtrousError, Preprocessing, Recipe
from atrous.data import open_dataset, read_sample
from atrous.data.facts import fingerprint
from atrous.runs import data_of, resumed_data
from atrous.store import Config, config_json, write_json

SQUARE = [[3, 2], [7, 2], [7, 5], [3, 5]]
RECIPE = Recipe(encoder="resnet18", width=1 / 8, crop=33, batch=2, epochs=1, learning_rate=0.02, warm_up=0)
OPTIONS = {"device": "cpu", "workers": 0}


def shapes(root, *labels, size=(8, 10)):
    """Write a folder of LabelMe's files, an image with one shape for each label."""
    root.mkdir(parents=True)
    for number, label in enumerate(labels):
        Image.fromarray(np.full((*size, 3), 9 * number, np.uint8)).save(root / f"{number}.png")
        shape = {"label": label, "points": SQUARE, "shape_type": "polygon", "group_id": None, "flags": {}}
        (root / f"{number}.json").write_text(
            json.dumps({
                "version": "5", "flags": {}, "shapes": [shape], "imagePath": f"{number}.png", "imageData": None,
                "imageHeight": size[0], "imageWidth": size[1],
            })
        )  # fmt: skip
    return root


def masks(root, names="abcdef", *, seed=0, row=(0, 1, 1, 1)):
    for number, name in enumerate(names):
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([seed, number]).integers(0, 255, (1, len(row), 3), np.uint8)
            Image.fromarray(noise if kind == "images" else np.array([row], np.uint8)).save(root / kind / f"{name}.png")
    return root


def run_on(out, dataset, *, told=True, split=None):
    """Write what a run on a dataset leaves for `data_of`; one of an earlier version without `told`."""
    facts = fingerprint(dataset)
    if not told:
        facts = {key: value for key, value in facts.items() if key not in ("told", "samples")}
    config = Config(
        model="deeplab_v3plus", options={}, space=dataset.space, preprocessing=Preprocessing(), geometry={},
        fingerprint=facts,
    )  # fmt: skip
    (out / "best").mkdir(parents=True)
    write_json(out / "best" / "config.json", config_json(config))
    stored = {name: [pair.name for pair in pairs] for name, pairs in dataset.splits.items()}
    write_json(out / "split.json", split or stored)
    return out


def named(dataset):
    found = {}
    for pair in (pair for pairs in dataset.splits.values() for pair in pairs):
        labels = set(np.unique(read_sample(pair, dataset.space).labels).tolist()) - {0, 255}
        found[pair.name] = {dataset.space.names[label] for label in labels}
    return found


def names_of(dataset):
    return {split: [pair.name for pair in pairs] for split, pairs in dataset.splits.items()}


@pytest.mark.parametrize("told", [True, False])
def test_other_classes_with_the_same_values_are_refused(tmp_path, told):
    run = run_on(tmp_path / "run", open_dataset(shapes(tmp_path / "a", "car", "person")), told=told)
    other = shapes(tmp_path / "b", "bus", "truck")
    words = r"b: the classes are _background_, bus, truck, and .*run was trained on _background_, car, person; a score"
    with pytest.raises(AtrousError, match=words):
        data_of(run, other)
    plain = run_on(tmp_path / "plain", open_dataset(masks(tmp_path / "m"), classes=["a", "b"]))
    with pytest.raises(AtrousError, match=r"b: the classes are _background_, bus, and"):
        data_of(plain, shapes(tmp_path / "c" / "b", "bus", "bus"))


def test_a_run_with_names_of_its_own_reads_its_folder_and_others_of_the_same_classes(tmp_path):
    root = shapes(tmp_path / "a", "car", "person")
    run = run_on(tmp_path / "run", open_dataset(root, classes=["ground", "auto", "mensch"]))
    wanted = {"0": {"auto"}, "1": {"mensch"}}
    assert named(data_of(run, root)) == wanted
    assert named(resumed_data(run, root)) == wanted
    assert named(resumed_data(run, root, classes=["ground", "auto", "mensch"])) == wanted
    assert named(data_of(run, shapes(tmp_path / "b", "person", "car"))) == {"0": {"mensch"}, "1": {"auto"}}
    with pytest.raises(AtrousError, match="the classes are _background_, bus, truck, and"):
        data_of(run, shapes(tmp_path / "c", "bus", "truck"))
    earlier = run_on(tmp_path / "old", open_dataset(root, classes=["ground", "auto", "mensch"]), told=False)
    with pytest.raises(AtrousError, match=r"the classes are _background_, car, person, and .* ground, auto, mensch"):
        data_of(earlier, root)


def test_a_run_in_another_order_reads_by_name(tmp_path):
    root = shapes(tmp_path / "a", "car", "person")
    run = run_on(tmp_path / "run", open_dataset(root, classes=["_background_", "person", "car"]))
    assert data_of(run, root).space.names == ("_background_", "person", "car")
    assert named(data_of(run, root)) == {"0": {"car"}, "1": {"person"}}
    (root / "classes.json").write_text('{"names": ["_background_", "car", "person"], "values": [9, 1, 2]}')
    assert data_of(run, root).space.values == (9, 2, 1)


def test_a_folder_that_holds_a_part_of_the_classes_says_so_in_classes_file(tmp_path):
    run = run_on(tmp_path / "run", open_dataset(shapes(tmp_path / "a", "car", "person")))
    part = shapes(tmp_path / "b", "person", "person")
    with pytest.raises(AtrousError, match=r"in the same order. A classes.json in the folder with the names of the run"):
        data_of(run, part)
    (part / "classes.json").write_text('{"names": ["_background_", "car", "person"]}')
    assert named(data_of(run, part)) == {"0": {"person"}, "1": {"person"}}


def test_a_folder_without_names_that_holds_fewer_classes(tmp_path, caplog):
    run = run_on(tmp_path / "run", open_dataset(masks(tmp_path / "a", row=(0, 1, 2, 3))))
    data_of(run, masks(tmp_path / "same kind", "xyz", row=(0, 1, 3, 3)))
    data_of(run, tmp_path / "a")
    assert not caplog.records
    data_of(run, masks(tmp_path / "b", "xyz", row=(0, 1, 1, 2)))
    (record,) = caplog.records
    assert "does not name its classes, and the 3 masks looked at hold the values 0, 1, 2, where" in record.getMessage()
    assert "has 4 classes (class 0, class 1, class 2, class 3): if they mean others" in record.getMessage()
    caplog.clear()
    data_of(run, masks(tmp_path / "outside", "xyz", row=(0, 1, 1, 9)))  # an error once it is read
    (tmp_path / "b" / "classes.json").write_text('{"names": ["class 0", "class 1", "class 2", "class 3"]}')
    data_of(run, tmp_path / "b")
    assert not caplog.records


def test_a_run_that_was_never_scored_is_resumed_without_a_word_of_best(tmp_path, caplog):
    root = masks(tmp_path / "a", row=(0, 1, 2, 3))
    run = run_on(tmp_path / "run", open_dataset(root))
    (run / "best").rename(run / "last")
    resumed_data(run, root)
    assert not caplog.records


def test_train_evaluate_and_resume_with_names_of_its_own(tmp_path):
    root = shapes(tmp_path / "a", "car", "person", "car", "person", size=(36, 40))
    out = verbs.train(root, out=tmp_path / "run", recipe=RECIPE, classes=["ground", "auto", "mensch"], **OPTIONS)
    assert verbs.evaluate(out, root, device="cpu").scores.space.names == ("ground", "auto", "mensch")
    verbs.train(root, out=out, resume=True, epochs=2, **OPTIONS)
    with pytest.raises(AtrousError, match="the classes are _background_, bus, truck, and"):
        verbs.evaluate(out, shapes(tmp_path / "b", "bus", "truck"), device="cpu")


def test_what_was_ignored_in_training_is_ignored_in_scoring(tmp_path):
    root = masks(tmp_path / "a", row=(0, 1, 7, 7))
    (root / "classes.json").write_text('{"names": ["a", "b"], "values": [0, 1]}')
    for told in (True, False):
        run = run_on(tmp_path / f"run {told}", open_dataset(root, ignore=7), told=told)
        assert data_of(run, root).space.ignore == 7
    other = masks(tmp_path / "b", "xyz", row=(0, 1, 9, 9))
    (other / "classes.json").write_text('{"names": ["a", "b"], "values": [0, 1], "ignore": 9}')
    assert data_of(run, other).space.ignore == 9
    (other / "classes.json").write_text('{"names": ["a", "b"], "values": [0, 7]}')
    assert data_of(run, other).space.ignore == 255


def test_an_ignored_class_stays_out(tmp_path):
    root = shapes(tmp_path / "a", "car", "person")
    run = run_on(tmp_path / "run", open_dataset(root, ignore=2))
    space = data_of(run, root).space
    assert (space.names, space.values, space.ignore) == (("_background_", "car"), (0, 1), 2)


@pytest.mark.parametrize("told", [True, False])
def test_a_corrected_mask_leaves_the_split_as_it_was(tmp_path, caplog, told):
    root = masks(tmp_path / "a", "abcdefghijkl")
    split = {"train": [f"images/{name}" for name in "abcdefghi"], "val": ["images/j", "images/k", "images/l"]}
    run = run_on(tmp_path / "run", open_dataset(root, split=split), told=told)
    assert names_of(data_of(run, root)) == split
    assert not caplog.records
    Image.fromarray(np.arange(4, dtype=np.uint8)[None] % 2).save(root / "masks" / "c.png", pnginfo=comment())
    Image.fromarray(np.zeros((1, 4, 3), np.uint8)).save(root / "images" / "d.png")
    with caplog.at_level(logging.WARNING, "atrous"):
        assert names_of(data_of(run, root)) == split
        assert names_of(resumed_data(run, root)) == split
    assert "files have changed since" in caplog.text
    masks(root, "m")
    assert names_of(data_of(run, root)) == split


def comment():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("corrected", "by hand")
    return info


def test_other_images_of_the_same_names_are_not_the_runs(tmp_path, caplog):
    run = run_on(tmp_path / "run", open_dataset(masks(tmp_path / "a"), split={"train": ["images/a"], "val": [
        f"images/{name}" for name in "bcdef"]}))  # fmt: skip
    other = masks(tmp_path / "b", seed=5, row=(0, 1, 0, 1))
    with caplog.at_level(logging.WARNING, "atrous"):
        assert sum(map(len, data_of(run, other).splits.values())) == 6
        assert names_of(data_of(run, other)) != json.loads((run / "split.json").read_text())
    assert "b: has the names of the images that" in caplog.text
    with pytest.raises(AtrousError, match=r"b: holds images of the same names, and not those that .*run was trained"):
        resumed_data(run, other)


def test_a_damaged_split_is_named(tmp_path):
    root = masks(tmp_path / "a")
    run = run_on(tmp_path / "run", open_dataset(root), split=["images/a"])
    with pytest.raises(AtrousError, match=r"split.json: no split is in it"):
        data_of(run, root)


def test_names_are_the_same_however_their_letters_are_stored(tmp_path):
    names = ("Bäume", "Fluß", "한글", "Straße é", "plain", "Größe")
    folders = [masks(tmp_path / form, [unicodedata.normalize(form, name) for name in names]) for form in ("NFC", "NFD")]
    here, there = map(open_dataset, folders)
    assert names_of(here) == names_of(there)
    assert fingerprint(here)["sha256"] == fingerprint(there)["sha256"]
    decomposed = {
        part: [unicodedata.normalize("NFD", name) for name in members] for part, members in names_of(here).items()
    }
    run = run_on(tmp_path / "run", here, split=decomposed)
    for folder in folders:
        assert names_of(data_of(run, folder)) == names_of(resumed_data(run, folder)) == names_of(here)
        assert names_of(open_dataset(folder, split=decomposed)) == names_of(here)
