"""What a network takes from a model of other classes: everything that scores a class goes by the class's name."""

import pytest
import torch

from atrous.contract import AtrousError, LabelSpace, Preprocessing
from atrous.models import Segmenter, build
from atrous.store import Config, plain, save_model, start_from

BEFORE = ("sky", "road", "car")
MODELS = [
    ("deeplab_v3", {"encoder": "resnet18", "width": 1 / 16, "auxiliary": True}),
    ("deeplab_v2", {"encoder": "resnet50_caffe", "width": 1 / 32}),
    ("fcn8s", {"width": 1 / 64}),
    ("hypercolumn", {"width": 1 / 64}),
    ("unet", {"width": 1 / 16}),
]


def stored(folder, model, options):
    """Return a network whose weights are all drawn, in evaluation mode, after it was stored."""
    torch.manual_seed(3)
    net = build(model, len(BEFORE), **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
    segmenter = Segmenter(net, LabelSpace(names=BEFORE), Preprocessing())
    config = Config(
        model=model,
        options=options,
        space=segmenter.space,
        preprocessing=segmenter.preprocessing,
        geometry=plain(segmenter.geometry),
    )
    save_model(folder, segmenter, config)
    return net.eval()


def image_for(net):
    return torch.randn(1, 3, *([net.geometry.valid(64)] * 2), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("model", "options"), MODELS)
def test_the_same_classes_in_another_order(tmp_path, model, options):
    before = stored(tmp_path / "model", model, options)
    net = build(model, 3, **options).eval()
    said = start_from(net, tmp_path / "model", LabelSpace(names=("car", "sky", "road")))
    assert "3 classes are taken by name" in said
    x = image_for(net)
    with torch.no_grad():
        torch.testing.assert_close(net(x), before(x)[:, [2, 0, 1]])


@pytest.mark.parametrize(("model", "options"), MODELS)
@pytest.mark.parametrize("names", [("car", "tree", "sky"), ("car", "tree", "lamp", "sky"), ("car", "sky")])
def test_classes_that_are_partly_others(tmp_path, model, options, names):
    before = stored(tmp_path / "model", model, options)
    net = build(model, len(names), **options).eval()
    said = start_from(net, tmp_path / "model", LabelSpace(names=names))
    assert "2 classes are taken by name" in said
    x = image_for(net)
    with torch.no_grad():
        after, wanted = net(x), before(x)
    torch.testing.assert_close(after[:, [0, names.index("sky")]], wanted[:, [2, 0]])


def test_a_channel_count_that_is_the_number_of_classes_is_none_of_classes(tmp_path):
    """Four classes and a trunk of four channels: the shapes alone do not tell one from the other."""
    options = {"encoder": "resnet18", "width": 1 / 16}
    before = stored(tmp_path / "model", "deeplab_v3", options)
    net = build("deeplab_v3", 4, **options)
    start_from(net, tmp_path / "model", LabelSpace(names=("a", "car", "sky", "road")))
    state, wanted = net.state_dict(), before.state_dict()
    differing = {name for name in state if not torch.equal(state[name], wanted[name])}
    assert differing == {"classify.weight", "classify.bias"}


def test_settings_of_no_network(tmp_path):
    stored(tmp_path / "model", *MODELS[0])
    path = tmp_path / "model" / "config.json"
    path.write_text(path.read_text(encoding="utf-8").replace("deeplab_v3", "deeplab_v9"), encoding="utf-8")
    net = build(MODELS[0][0], 3, **MODELS[0][1])
    with pytest.raises(AtrousError, match=r"config.json: the network cannot be built: model 'deeplab_v9' is not known"):
        start_from(net, tmp_path / "model", LabelSpace(names=("car", "sky", "road")))
