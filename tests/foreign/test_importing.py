"""What is asked for against what a file holds, trunks, the classes' names, and real files of others."""

import importlib

import pytest
import safetensors.torch
import timm
import torch

import atrous
from atrous.contract import AtrousError
from atrous.foreign import imported, space_of
from atrous.foreign.matching import differences
from atrous.models import build

NAMES = ("sky", "road", "car", "tree")


@pytest.fixture(scope="module")
def smp_file(tmp_path_factory):
    """Return a file of smp's DeepLabV3Plus of four classes."""
    smp = importlib.import_module("segmentation_models_pytorch")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "best.pth"
    torch.save(smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=4).state_dict(), path)
    return path


def test_another_network_than_the_file_holds_is_refused_with_both_names(smp_file):
    words = "DeepLabV3Plus on resnet18, which is deeplab_v3plus here, and deeplab_v1 was asked for; leave it out"
    with pytest.raises(AtrousError, match=words):
        imported(smp_file, model="deeplab_v1")
    assert imported(smp_file, model="deeplab_v3plus").model == "deeplab_v3plus"


def test_another_encoder_than_the_file_holds_is_refused(smp_file):
    with pytest.raises(AtrousError, match="its encoder is resnet18, and resnet50 was asked for; leave it out"):
        imported(smp_file, encoder="resnet50")


def test_options_that_do_not_exist_are_refused(smp_file):
    with pytest.raises(ValueError, match="deeplab_v3plus has no option 'colour'"):
        imported(smp_file, options={"colour": 1})
    with pytest.raises(ValueError, match="model 'deeplab_v9' is not known"):
        imported(smp_file, model="deeplab_v9")


def test_shapes_that_do_not_fit_are_listed_with_the_files_names(smp_file):
    state = torch.load(smp_file, weights_only=True)
    state["segmentation_head.0.weight"] = torch.zeros(4, 99, 1, 1)
    path = smp_file.with_name("other.pth")
    torch.save(state, path)
    words = (
        r"other\.pth: segmentation_models_pytorch's DeepLabV3Plus on resnet18, but the file has (\d+) tensors, "
        r"deeplab_v3plus \1; \d+ fit: 'segmentation_head\.0\.weight' is \(4, 99, 1, 1\) in the file"
    )
    with pytest.raises(AtrousError, match=words):
        imported(path)


def test_differences_show_shapes_first_then_some_of_each_side():
    given = {"a": torch.zeros(2), "x": torch.zeros(1), "y": torch.zeros(1)}
    wanted = {"a": torch.zeros(3), "b": torch.zeros(4)}
    assert differences(given, wanted, {"a": "their a"}) == [
        "'their a' is (2,) in the file and (3,) in the network",
        "'x' (1,) is only in the file",
        "'b' (4,) is only in the network",
        "'y' (1,) is only in the file",
    ]


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_weights_of_a_classifier_fill_the_trunk_and_leave_the_head_fresh(tmp_path, form, shaken):
    torch.manual_seed(0)
    classifier = shaken(timm.create_model("resnet18"))
    path = tmp_path / f"resnet18.{form}"
    if form == "pth":
        torch.save(classifier.state_dict(), path)
    else:
        safetensors.torch.save_file(classifier.state_dict(), path)
    found = imported(path, model="deeplab_v3plus", classes=4)
    assert (found.model, found.options["encoder"], found.classes) == ("deeplab_v3plus", "resnet18", 4)
    assert found.source == "weights of the encoder resnet18"
    assert "the head is fresh" in " ".join(found.notes)
    assert "the classifier is left out: fc" in found.notes
    body = found.net.encoder.body.state_dict()
    for name, value in body.items():
        torch.testing.assert_close(value, classifier.state_dict()[name])


def test_trunks_that_are_not_told_need_their_name(saved):
    torch.manual_seed(0)
    trunk = timm.create_model("mobilenetv3_small_050")
    path = saved(trunk.state_dict())
    with pytest.raises(ValueError, match="which encoder is it\\? Give --encoder with timm's name"):
        imported(path, model="deeplab_v3plus")
    found = imported(path, model="deeplab_v3plus", encoder="mobilenetv3_small_050")
    torch.testing.assert_close(
        found.net.encoder.body.state_dict()["conv_stem.weight"], trunk.state_dict()["conv_stem.weight"]
    )
    with pytest.raises(AtrousError, match=r"tensors of 'resnet18' are missing or of another shape"):
        imported(path, model="deeplab_v3plus", encoder="resnet18")


def test_the_features_of_torchvisions_vgg_fill_a_trunk_without_their_prefix(saved):
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        names = timm.create_model("vgg11_bn", num_classes=0).state_dict()
    state = {
        name.removeprefix("features."): torch.rand(each.shape, generator=generator)
        for name, each in names.items()
        if name.startswith("features.") and not name.endswith("num_batches_tracked")
    }
    assert "0.weight" in state
    path = saved(state)
    found = imported(path, model="deeplab_v3plus", encoder="vgg11_bn", options={"output_stride": 32})
    torch.testing.assert_close(found.net.encoder.body.state_dict()["features_0.weight"], state["0.weight"])
    with pytest.raises(ValueError, match="which encoder is it"):
        imported(path, model="deeplab_v3plus")


def test_a_vgg16_classifier_fills_fcn(saved):
    torch.manual_seed(0)
    vgg = build("fcn8s", 2, width=1 / 32).encoder.state_dict()
    from atrous.layers.vgg import CLASSIFIER_NAMES

    state = {
        f"{theirs}.{part}": vgg[f"vgg.{ours}.{part}"]
        for theirs, ours in CLASSIFIER_NAMES.items()
        for part in ("weight", "bias")
    }
    for theirs, ours in (("classifier.0", "fc6"), ("classifier.3", "fc7")):
        state |= {f"{theirs}.weight": vgg[f"{ours}.weight"].flatten(1), f"{theirs}.bias": vgg[f"{ours}.bias"]}
    found = imported(saved(state), model="fcn8s", classes=3, options={"width": 1 / 32})
    torch.testing.assert_close(dict(found.net.encoder.state_dict()), dict(vgg))


def test_a_vgg16_classifier_of_caffe_fills_fcn(write_caffemodel):
    torch.manual_seed(0)
    vgg = build("fcn8s", 2, width=1 / 32).encoder.state_dict()
    layers: dict[str, list[torch.Tensor]] = {}
    for name, value in vgg.items():
        layer = name.split(".")[-2]
        flat = value.flatten(1) if layer.startswith("fc") and value.ndim == 4 else value
        layers.setdefault(layer, []).append(flat)
    path = write_caffemodel(layers | {"fc8": [torch.zeros(10, 128), torch.zeros(10)]}, legacy=True)
    found = imported(path, model="fcn8s", classes=3, options={"width": 1 / 32})
    assert found.preprocessing.order == "BGR"
    torch.testing.assert_close(dict(found.net.encoder.state_dict()), dict(vgg))


def test_unknown_weights_say_how_they_look(saved):
    path = saved({"a.weight": torch.zeros(2, 3), "b": torch.zeros(1)})
    with pytest.raises(AtrousError, match=r"no network that is known, 2 tensors: 'a\.weight' \(2, 3\); 'b' \(1,\)\. "):
        imported(path)
    with pytest.raises(AtrousError, match=r"not weights of unet: the file has 2 tensors, unet \d+; 0 fit: 'a\.weight'"):
        imported(path, model="unet")


def test_our_own_names_need_no_import(tmp_path):
    net = build("deeplab_v3plus", 2, encoder="resnet18", width=1 / 8)
    safetensors.torch.save_file(net.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(AtrousError, match="has the names of a network of atrous, which needs no import"):
        imported(tmp_path / "a.safetensors")


def test_names_of_the_classes():
    space, note = space_of(21, None)
    assert (space.names[:2], space.colours[1]) == (("background", "aeroplane"), (128, 0, 0))
    assert note is not None
    assert "taken for VOC's" in note
    space, note = space_of(3, None)
    assert space.names == ("class 0", "class 1", "class 2")
    assert note == "3 classes, numbered; --classes names them"
    assert space_of(2, ["a", "b"]) == (space_of(2, ("a", "b"))[0], None)
    with pytest.raises(ValueError, match="3 names of classes came, and the weights have 4: a, b, c"):
        space_of(4, ["a", "b", "c"])


def test_import_weights_writes_a_model_folder_that_predicts(smp_file, tmp_path):
    from atrous.data.scenes import write_scenes
    from atrous.store import read_config

    said: list[str] = []
    out = atrous.import_weights(smp_file, out=tmp_path / "model", classes=NAMES, listener=said.append)
    assert said[0] == "recognised: segmentation_models_pytorch's DeepLabV3Plus on resnet18, deeplab_v3plus here"
    config = read_config(out)
    assert (config.space.names, config.recipe, config.scores) == (NAMES, None, None)
    root = write_scenes(tmp_path / "street", train=1, val=1, size=(40, 52))
    photo = next((root / "images" / "val").iterdir())
    prediction = atrous.predict(out, photo, probabilities=True, device="cpu")
    assert prediction.labels.shape == (40, 52)
    outcome = atrous.predict(out, photo, out=tmp_path / "out", device="cpu")
    assert len(outcome.written) == 2


def test_what_is_in_the_way_is_not_replaced(smp_file, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("years of work")
    with pytest.raises(AtrousError, match="data: is there already and is no model folder; choose another --out"):
        atrous.import_weights(smp_file, out=tmp_path / "data")
    assert (tmp_path / "data" / "thesis.txt").read_text() == "years of work"
    folder = atrous.import_weights(smp_file, out=tmp_path / "model", classes=NAMES)
    with pytest.raises(AtrousError, match=r"model\.safetensors: lies inside .*, which would be replaced"):
        atrous.import_weights(folder / "model.safetensors", out=folder)
    with pytest.raises(ValueError, match="1 names of classes came, and the weights have 4"):
        atrous.import_weights(smp_file, out=folder, classes=["a"])
    assert atrous.load(folder).space.names == NAMES
    atrous.import_weights(smp_file, out=folder)
    assert atrous.load(folder).space.names == ("class 0", "class 1", "class 2", "class 3")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(AtrousError, match="model: holds more than imported weights"):
        atrous.import_weights(smp_file, out=folder)


@pytest.mark.parametrize(
    ("file", "model", "words"),
    [
        ("espnet/decoder_espnet_p_2_q_8_camvid.pth", None, r"weights of ESPNet; atrous does not have that network$"),
        ("espnet/encoder_espnet_p_2_q_3.pth", None, r"weights of ESPNet's encoder; atrous does not have"),
        ("portrait/SINet.pth", None, r"weights of SINet; atrous does not have that network$"),
        (
            "portrait/ExtremeC3.pth",
            "fcn8s",
            r"weights of ExtremeC3Net, and not of fcn8s; atrous does not have that network$",
        ),
        (
            "retina_unet/test_best_weights.h5",
            None,
            "no network that is known, 22 tensors: 'convolution2d_1/convolution2d",
        ),
        (
            "retina_unet/test_best_weights.h5",
            "unet",
            r"'convolution2d_1/convolution2d_1_W' \(32, 1, 3, 3\) is only in the file; '[\w.]+' \([\d, ]+\) is only",
        ),
    ],
)
def test_published_files_of_networks_that_are_not_here(data_dir, file, model, words):
    if file.endswith(".h5"):
        importlib.import_module("h5py")
    with pytest.raises(AtrousError, match=words):
        imported(data_dir / "weights" / file, model=model)
