"""The verbs as a user calls them: load, evaluate and predict, on folders, files and arrays."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import atrous
from atrous.contract import AtrousError, LabelSpace, Preprocessing
from atrous.data import write_image
from atrous.data.scenes import write_scenes
from atrous.models import Segmenter, build
from atrous.prediction.journal import JOURNAL
from atrous.store import Config, plain, read_config, save_model

SPACE = LabelSpace(names=("dark", "light"))
KINDS = ("masks", "overlays", "probabilities")


def bright(images):
    light = np.asarray(images)[:, 0].astype(np.float32) / 255
    return np.stack([1 - light, light], 1)


def picture(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labelled(root, names, *, split="", classes=2):
    for index, name in enumerate(names):
        write_image(root / "images" / split / f"{name}.png", picture(20, 24, 3, seed=index))
        write_image(root / "masks" / split / f"{name}.png", picture(20, 24, seed=index) % np.uint8(classes))
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run that nothing was trained in: a random network, and a stored split of four images."""
    torch.manual_seed(0)
    options = {"encoder": "resnet18", "width": 1 / 8}
    net = build("deeplab_v3plus", 2, **options)
    torch.nn.init.normal_(net.classify.weight, std=3)
    segmenter = Segmenter(net, SPACE, Preprocessing()).eval()
    with torch.no_grad():  # both classes shall occur
        logits = segmenter.logits(torch.from_numpy(picture(3, 64, 64))[None])[0]
        net.classify.bias[0] += (logits[1] - logits[0]).median()
    config = Config(
        model="deeplab_v3plus",
        options=options,
        space=SPACE,
        preprocessing=segmenter.preprocessing,
        geometry=plain(segmenter.geometry),
    )
    root = tmp_path_factory.mktemp("run")
    save_model(root / "best", segmenter, config)
    (root / "split.json").write_text(json.dumps({"train": ["images/a", "images/d"], "val": ["images/c", "images/b"]}))
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    write_image(root / "a.png", picture(30, 41, 3))
    write_image(root / "b" / "a.jpg", picture(17, 20, 3, seed=1))
    write_image(root / "b" / "a.png", picture(17, 20, seed=2))
    return root


def written_below(out):
    files = [path for path in out.rglob("*") if path.is_file() and path.name != JOURNAL]
    return sorted(path.relative_to(out).as_posix() for path in files)


# Evaluate and load ----------------------------------------------------------------------------------------------------


def test_load_is_a_scorer_in_evaluation_mode(run):
    segmenter = atrous.load(run, device="cpu")
    assert not segmenter.training
    assert segmenter.space == SPACE
    with pytest.raises(AtrousError, match="device 'warp' is not here: "):
        atrous.load(run, device="warp")


def test_evaluate_takes_the_stored_split(run, tmp_path):
    root = labelled(tmp_path, "abcde")
    scores = atrous.evaluate(run, root, device="cpu").scores
    assert scores.images == 2
    assert scores.confusion.sum() == 2 * 20 * 24
    segmenter = atrous.load(run, device="cpu")
    expected = np.zeros((2, 2), int)
    for index in (1, 2):
        labels = atrous.predict(segmenter, picture(20, 24, 3, seed=index)).labels
        np.add.at(expected, (picture(20, 24, seed=index) % 2, labels), 1)
    np.testing.assert_array_equal(scores.confusion, expected)
    assert atrous.evaluate(run / "best", root, device="cpu").scores.confusion.tolist() == expected.tolist()
    with pytest.raises(AtrousError, match=r"no images in the split 'test'; there are train \(2\), val \(2\)"):
        atrous.evaluate(run, root, split="test")


def test_evaluate_of_other_images_takes_their_own_split(run, tmp_path):
    root = labelled(labelled(tmp_path, "xyz", split="val"), "uv", split="train")
    assert atrous.evaluate(run, root, device="cpu").scores.images == 3
    assert atrous.evaluate(run, root, split="train", device="cpu").scores.images == 2


def test_evaluate_of_part_of_the_data(run, tmp_path):
    root = labelled(tmp_path, "ab")
    with pytest.raises(
        AtrousError, match=r"2 of the 4 images that .* was trained with are missing, first 'images/c'; gi"
    ):
        atrous.evaluate(run, root)


def test_evaluate_of_other_classes(run, tmp_path):
    root = labelled(tmp_path, "abcd", classes=5)
    with pytest.raises(AtrousError, match=r"masks/c.png: label 2 is outside 0..1 and is not the ignore value 255"):
        atrous.evaluate(run, root, device="cpu")


def test_evaluate_without_masks_of_some(run, tmp_path):
    root = labelled(tmp_path, "abcd")
    (root / "masks" / "b.png").unlink()
    with pytest.raises(AtrousError, match=r"1 image \(images/b.png\) has no mask"):
        atrous.evaluate(run, root, device="cpu")


# Predict --------------------------------------------------------------------------------------------------------------


def test_folders_keep_names_and_depth(run, photos, tmp_path):
    told = []
    outcome = atrous.predict(
        run, photos, out=tmp_path, device="cpu", progress=lambda done, total: told.append((done, total))
    )
    names = ["a", "b/a.jpg", "b/a.png"]
    assert written_below(tmp_path) == [
        *(f"masks/{name}.png" for name in names),
        *(f"overlays/{name}.jpg" for name in names),
    ]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in outcome.written) == written_below(tmp_path)
    assert outcome.failed == {}
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_files_arrays_and_folders_agree(run, photos, tmp_path):
    segmenter = atrous.load(run, device="cpu")
    atrous.predict(segmenter, photos, out=tmp_path, save=KINDS)
    each = {found.path: found for found in atrous.predict(segmenter, photos, probabilities=True)}
    assert sorted(each) == sorted(photos.rglob("*.*"))
    for name, path in (("a", photos / "a.png"), ("b/a.png", photos / "b" / "a.png")):
        array = np.array(Image.open(path))
        alone = atrous.predict(segmenter, array, probabilities=True)
        from_file = atrous.predict(segmenter, path, probabilities=True)
        with np.load(tmp_path / "probabilities" / f"{name}.npz") as stored:
            np.testing.assert_array_equal(stored["probabilities"], alone.probabilities.astype(np.float16))
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / "masks" / f"{name}.png")), alone.labels)
        for found in (from_file, each[path]):
            np.testing.assert_array_equal(found.labels, alone.labels)
            np.testing.assert_array_equal(found.probabilities, alone.probabilities)
            assert found.path == path
        assert alone.path is None
        assert 0 < alone.labels.mean() < 1
        images = torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)[None]
        with torch.no_grad():
            np.testing.assert_array_equal(segmenter(images)[0].numpy(), alone.probabilities)


def test_one_file_and_a_pattern(run, photos, tmp_path):
    atrous.predict(run, photos / "b" / "a.jpg", out=tmp_path / "one", save="masks", device="cpu")
    assert written_below(tmp_path / "one") == ["masks/a.png"]
    atrous.predict(run, f"{photos}/b/*.jpg", out=tmp_path / "some", save=["overlays"], device="cpu")
    assert written_below(tmp_path / "some") == ["overlays/a.jpg"]


def test_a_broken_image_is_told_and_the_rest_goes_on(photos, tmp_path, caplog):
    for name in ("a", "c", "d"):
        write_image(tmp_path / "in" / f"{name}.png", picture(5, 5, 3))
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:60])
    with caplog.at_level(logging.WARNING, "atrous"):
        outcome = atrous.predict(bright, tmp_path / "in", out=tmp_path / "out", space=SPACE)
    assert list(outcome.failed) == [tmp_path / "in" / "b.png"]
    assert "b.png: the image is truncated or damaged" in outcome.failed[tmp_path / "in" / "b.png"]
    assert [message.endswith("(skipped)") for message in caplog.messages] == [True]
    assert len(outcome.written) == 6
    caplog.clear()
    assert len(list(atrous.predict(bright, tmp_path / "in", space=SPACE))) == 3
    assert "b.png" in caplog.messages[0]


def test_images_of_other_channels_are_told_by_name(run, tmp_path, caplog):
    write_image(tmp_path / "in" / "good.png", picture(5, 5, 3))
    write_image(tmp_path / "in" / "six.tif", picture(5, 5, 6))
    outcome = atrous.predict(run, tmp_path / "in", out=tmp_path / "out", device="cpu")
    words = f"{tmp_path}/in/six.tif: images of 6 channels came; this network takes 3 or 1 (grey)"
    assert outcome.failed == {tmp_path / "in" / "six.tif": words}
    assert len(list(atrous.predict(run, tmp_path / "in", device="cpu"))) == 1
    assert caplog.messages == [f"{words} (skipped)"] * 2


def test_results_are_not_predicted_again(tmp_path):
    write_image(tmp_path / "a.png", picture(5, 5, 3))
    for _ in range(2):
        assert len(atrous.predict(bright, tmp_path, out=tmp_path, space=SPACE).written) == 2
    assert written_below(tmp_path) == ["a.png", "masks/a.png", "overlays/a.jpg"]
    before = (tmp_path / "masks" / "a.png").read_bytes()
    with pytest.raises(AtrousError, match=r"masks/a.png: lies where the results go; choose another folder for them"):
        atrous.predict(bright, tmp_path / "masks" / "a.png", out=tmp_path, space=SPACE)
    assert (tmp_path / "masks" / "a.png").read_bytes() == before


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (20_000, 10)])
def test_odd_sizes(run, tmp_path, shape):
    write_image(tmp_path / "odd.png", picture(*shape, 3))
    outcome = atrous.predict(run, tmp_path / "odd.png", out=tmp_path / "out", device="cpu", save=KINDS)
    assert outcome.failed == {}
    with Image.open(tmp_path / "out" / "masks" / "odd.png") as mask:
        assert mask.size == shape[::-1]


def test_what_predict_refuses(run, photos, tmp_path):
    with pytest.raises(ValueError, match="save 'mask' is not known; there are masks, overlays, probabilities"):
        atrous.predict(bright, photos, out=tmp_path, save=["mask"], space=SPACE)
    with pytest.raises(ValueError, match="a scorer without classes came; give space=LabelSpace"):
        atrous.predict(bright, photos)
    with pytest.raises(AtrousError, match="gone: no such model folder or run"):
        atrous.predict(tmp_path / "gone", photos)
    with pytest.raises(AtrousError, match="gone: no such file or folder; a file, a folder or a pattern"):
        atrous.predict(bright, tmp_path / "gone", space=SPACE)
    for shape in ((5,), (1, 5, 5, 3), (0, 5, 3)):
        with pytest.raises(ValueError, match=r"an array of shape \(.*\) came; one image is \(h, w\) or \(h, w, c\)"):
            atrous.predict(bright, np.zeros(shape, np.uint8), space=SPACE)
    with pytest.raises(ValueError, match=r"the scorer returned \(2, 3, 3\) for an image of 4x4"):
        atrous.predict(lambda images: np.zeros((1, 2, 3, 3)), np.zeros((4, 4), np.uint8), space=SPACE)
    assert list(tmp_path.iterdir()) == []


def test_a_scorer_may_name_its_own_space(photos):
    def scorer(images):
        return bright(images)

    scorer.space = replace(SPACE, names=("night", "day"))
    assert atrous.predict(scorer, photos / "a.png").space.names == ("night", "day")
    image = picture(4, 4)
    before = image.copy()
    np.testing.assert_array_equal(atrous.predict(scorer, image).labels, image > 127)
    np.testing.assert_array_equal(image, before)


def test_deep_and_negative_values_reach_the_network_as_they_are():
    seen = []

    def scorer(images):
        seen.append(images)
        return bright(images)

    for dtype in (np.uint16, np.int16, np.float32, np.float64):
        image = np.array([[7, 1000]]).astype(dtype)
        atrous.predict(scorer, image, space=SPACE)
        assert seen[-1].dtype == np.float32
        np.testing.assert_array_equal(seen[-1][0, 0], image)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 5}, "option 'classes' is told by the data; leave it out of the options"),
        ({"in_channels": 1}, "option 'in_channels' is told by the data; leave it out of the options"),
        (
            {"output_stride": 8},
            "option 'output_stride' has a flag of its own, --output-stride; leave it out of the opt",
        ),
    ],
)
def test_options_that_have_another_place_are_refused(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        atrous.train(tmp_path, out=tmp_path / "run", options=options)


def test_options_are_added_to_the_recipe_s(tmp_path):
    write_scenes(tmp_path / "street", train=2, val=1, size=(48, 64))
    small = {"epochs": 1, "batch": 2, "crop": 33, "width": 1 / 16, "workers": 0, "device": "cpu"}
    single = atrous.train(tmp_path / "street", out=tmp_path / "single", model="deeplab_v2", **small)
    told = []
    several = atrous.train(
        tmp_path / "street",
        out=tmp_path / "several",
        model="deeplab_v2",
        options={"multiscale": True},
        pretrained=str(single),
        listener=told.append,
        **small,
    )
    assert read_config(several / "best").options["multiscale"] is True
    assert read_config(single / "best").options["norm"] == "batch"
    (begun,) = [event.text for event in told if getattr(event, "text", "").startswith("starting from")]
    given, wanted = begun.partition(": ")[2].split(" tensors")[0].split(" of ")
    assert given == wanted
