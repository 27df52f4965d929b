"""Every network of the table keeps every promise, and every check sees the network that breaks its promise."""

import re

import pytest
import torch
from torch import nn

from atrous import conformance
from atrous.contract import AtrousError, Geometry, LabelSpace, Preprocessing
from atrous.models import TABLE, Segmenter

VARIANTS = {
    "fcn32s": ({"encoder": "resnet18", "output_stride": 8, "head": "torchvision"}, {"encoder": "resnet18"}),
    "fcn8s": ({"encoder": "resnet18"}, {"at_once": True}),
    "hypercolumn": ({"encoder": "resnet18"}, {"grid": 1}),
    "unet": (
        {"padding": "same", "norm": "batch"},
        {"depth": 2},
        {"encoder": "resnet18"},
        {"encoder": "resnet18", "norm": "group"},
    ),
    "deeplab_v1": ({"variant": "7x7"}, {"variant": "4x4"}, {"multiscale_features": True}),
    "deeplab_v2": (
        {"encoder": "vgg16"},
        {"encoder": "resnet50_caffe", "norm": "batch"},
        {"encoder": "resnet18", "multiscale": True},
    ),
    "deeplab_v3": (
        {"encoder": "resnet50_beta"},
        {"encoder": "resnet18", "cascade": 3},
        {"encoder": "resnet18", "head": "torchvision", "auxiliary": True},
        {"encoder": "resnet18", "head": "smp"},
        {"encoder": "resnet18", "output_stride": 8, "norm": "frozen"},
    ),
    "deeplab_v3plus": (
        {"encoder": "resnet18"},
        {"encoder": "resnet50_beta"},
        {"encoder": "resnet18", "head": "smp"},
        {"encoder": "xception65"},
        {"encoder": "resnet18", "norm": "group", "output_stride": 32},
    ),
}
ENTRIES = [(name, options) for name in TABLE for options in ({}, *VARIANTS.get(name, ()))]
PAPER = {
    "fcn32s": 134_346_581,
    "fcn16s": 134_357_354,
    "fcn8s": 134_362_751,
    "hypercolumn": 137_890_919,
    "unet": 31_033_045,
    "deconvnet": 251_805_653,
    "deeplab_v1": 20_505_429,
    "deeplab_v2": 44_048_532,
    "deeplab_v3": 58_040_661,
    "deeplab_v3plus": 59_344_309,
}
FEW = ((1, 1), (1, 65), (50, 33))


def worded(value):
    """Return what the table's test is called."""
    return value if isinstance(value, str) else "-".join(f"{key}={each}" for key, each in value.items())


@pytest.mark.parametrize(("name", "options"), ENTRIES, ids=worded)
def test_the_table_conforms(name, options):
    conformance.check(TABLE[name], width=1 / 8, **options)


@pytest.mark.parametrize("name", TABLE)
def test_one_channel_conforms(name):
    options = {"encoder": "resnet18"} if name.startswith("deeplab_v3") else {}
    grey = Preprocessing(mean=(0.5,), std=(0.25,), padding="mirror")
    conformance.check(TABLE[name], classes=2, preprocessing=grey, in_channels=1, width=1 / 16, sizes=FEW, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_the_table_conforms_at_the_papers_width(name):
    conformance.check(TABLE[name], classes=21, parameters=PAPER[name], sizes=FEW)


# Networks that break a promise ----------------------------------------------------------------------------------------


class Kept(nn.Module):
    """The smallest network that keeps every promise: logits at stride 2, aligned, from a 3x3 convolution."""

    def __init__(self, classes=3):
        super().__init__()
        self.geometry = Geometry(multiple=2, offset=1, minimum=1, stride=2, align_corners=True)
        self.score = nn.Conv2d(3, classes, 3, 2, 1)

    def forward(self, x):
        return self.score(x)


class NeedsSixteen(Kept):
    def forward(self, x):
        return self.score(nn.functional.max_pool2d(x, 17, 1, 0)) if x.shape[2] < 17 else self.score(x)


class NotFinite(Kept):
    def forward(self, x):
        return self.score(x) * torch.inf


class MixesRows(Kept):
    def forward(self, x):
        return self.score(x + x.mean(0, keepdim=True))


class DropsAlways(Kept):
    def forward(self, x):
        return nn.functional.dropout(self.score(x), 0.5, training=True)


class WritesItsInput(Kept):
    def forward(self, x):
        return self.score(x.relu_())


class Counts(Kept):
    seen = 0

    def forward(self, x):
        self.seen += 1
        return self.score(x)


class MovesABuffer(Kept):
    def __init__(self, classes=3):
        super().__init__(classes)
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x):
        self.mean += 0.1
        return self.score(x)


class Detached(Kept):
    def __init__(self, classes=3):
        super().__init__(classes)
        self.late = nn.Conv2d(classes, classes, 1)

    def forward(self, x):
        return self.late(self.score(x).detach())


class NeedsTwoInTraining(Kept):
    def forward(self, x):
        if self.training and len(x) == 1:
            raise ValueError("more than one image is needed")
        return self.score(x)


class HidesAWeight(Kept):
    def __init__(self, classes=3):
        super().__init__(classes)
        self.hidden = [torch.randn(1)]

    def forward(self, x):
        return self.score(x) + self.hidden[0] * torch.arange(3).reshape(1, 3, 1, 1)


class KeepsInfinity(Kept):
    def __init__(self, classes=3):
        super().__init__(classes)
        self.register_buffer("bound", torch.tensor(torch.inf))


class LiesAboutItsStride(Kept):
    def __init__(self, classes=3):
        super().__init__(classes)
        self.geometry = Geometry(stride=4)


class LiesAboutItsLeast(Kept):
    def forward(self, x):
        return self.score(x[:, :, 4:, 4:])


class SharesAWeight(Kept):
    def __init__(self, classes=3):
        super().__init__(classes)
        self.other = nn.Conv2d(3, classes, 3, 2, 1)
        self.other.weight = self.score.weight

    def forward(self, x):
        return self.score(x) + self.other(x)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (NeedsSixteen, "an image of 1 x 1 raised RuntimeError|valid, raised RuntimeError"),
        (NotFinite, "probabilities are not all from 0 to 1"),
        (MixesRows, "rows of a batch mix"),
        (DropsAlways, "after saving and loading the logits are others"),
        (WritesItsInput, "the network has changed its input in place"),
        (Counts, "forward changes what modules hold, in evaluation mode: .seen"),
        (MovesABuffer, "forward changes what modules hold, in evaluation mode: ._buffers"),
        (Detached, "no gradient reaches score.weight, score.bias"),
        (NeedsTwoInTraining, "a batch of one small crop in training mode raised ValueError.*more than one image"),
        (HidesAWeight, "after saving and loading the logits are others"),
        (SharesAWeight, "saving and loading its state raised RuntimeError"),
        (KeepsInfinity, "buffers are not finite: bound"),
        (LiesAboutItsStride, r"logits of 1 x 65 are \(2, 3, 1, 33\); the geometry says \(2, 3, 0, 16\)"),
        (LiesAboutItsLeast, "1 x 65, which its geometry calls valid, raised RuntimeError"),
    ],
)
def test_check_names_what_a_network_breaks(build, words):
    with pytest.raises(AtrousError, match=f"{build.__name__}: .*({words})"):
        conformance.check(build, sizes=FEW)


def test_check_passes_the_smallest_network_that_keeps_all():
    conformance.check(Kept, parameters=84, receptive_field=3)


def test_check_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    conformance.check(Kept, sizes=FEW)
    torch.testing.assert_close(torch.random.get_rng_state(), before)


def test_parameter_count_is_compared():
    with pytest.raises(AtrousError, match="Kept: 84 parameters came, 1,000 are stated"):
        conformance.check(Kept, parameters=1000, sizes=FEW)


def test_receptive_field_is_compared():
    with pytest.raises(AtrousError, match="Kept: the middle logit sees 3 pixels down, 5 are stated"):
        conformance.check_receptive_field(Kept(), 5)


def test_receptive_field_is_measured_across_too():
    net = Kept()
    net.score = nn.Conv2d(3, 3, (3, 5), 2, (1, 2))
    with pytest.raises(AtrousError, match="the middle logit sees 5 pixels across, 3 are stated"):
        conformance.check_receptive_field(net, 3)


def test_receptive_field_of_fcn32s():
    """fc7 sees 404 pixels (FCN table 1), and every logit stands between two of its units, 32 apart."""
    conformance.check_receptive_field(conformance.awaken(TABLE["fcn32s"](2, width=1e-9)).eval(), 404 + 32)


# Scorers that break a promise -----------------------------------------------------------------------------------------


class OneRowLess(Segmenter):
    def forward(self, images):
        return super().forward(images)[:, :, 1:]


class LabelsOneRowLess(Segmenter):
    def labels(self, images):
        return super().labels(images)[:, 1:]


class Refuses(Segmenter):
    def forward(self, images):
        raise IndexError("too small")


class SumsToTwo(Segmenter):
    def forward(self, images):
        return super().forward(images).square()


class Doubles(Segmenter):
    def forward(self, images):
        return super().forward(images).double()


class NextClass(Segmenter):
    def labels(self, images):
        return (super().labels(images) + 1) % 3


class LongLabels(Segmenter):
    def labels(self, images):
        return super().labels(images).long()


class Trembles(Segmenter):
    def forward(self, images):
        return super().forward(images + torch.rand(()))


class WritesImages(Segmenter):
    def labels(self, images):
        return super().labels(images.fill_(3))


class WritesFloats(Segmenter):
    def normalised(self, images):
        return super().normalised(images if images.dtype == torch.uint8 else images.mul_(0.5))


class ScalesBytes(Segmenter):
    def normalised(self, images):
        return super().normalised(images / 255 if images.dtype == torch.uint8 else images)


class GreyIsRed(Segmenter):
    def normalised(self, images):
        if images.shape[1] == 1:
            images = torch.cat([images, torch.zeros_like(images), torch.zeros_like(images)], 1)
        return super().normalised(images)


@pytest.mark.parametrize(
    ("build", "promise", "words"),
    [
        (OneRowLess, conformance.check_sizes, "probabilities and labels are ((1, 3, 0, 1), (1, 1, 1)), where"),
        (LabelsOneRowLess, conformance.check_sizes, "probabilities and labels are ((1, 3, 1, 1), (1, 0, 1)), where"),
        (Refuses, conformance.check_sizes, "an image of 1 x 1 raised IndexError('too small')"),
        (SumsToTwo, conformance.check_probabilities, "probabilities do not sum to one: a sum is 0."),
        (Doubles, conformance.check_probabilities, "probabilities are torch.float64, not float32"),
        (NextClass, conformance.check_labels, "labels are not the most probable class at "),
        (LongLabels, conformance.check_labels, "labels are torch.int64, not uint8"),
        (Trembles, conformance.check_repetition, "the same image scores differently the second time"),
        (WritesImages, conformance.check_images, "the torch.uint8 images that were given have been changed"),
        (WritesFloats, conformance.check_images, "the torch.float32 images that were given have been changed"),
        (ScalesBytes, conformance.check_depths, "uint8 and float32 images of the same values score differently"),
        (GreyIsRed, conformance.check_grey, "a grey image scores differently from its copy with three equal channels"),
    ],
)
def test_each_promise_names_what_a_scorer_breaks(build, promise, words):
    scorer = build(Kept(), LabelSpace(names=("a", "b", "c")), Preprocessing()).eval()
    with pytest.raises(AtrousError, match=f"Kept: {re.escape(words)}"):
        promise(scorer)
    promise(Segmenter(Kept(), LabelSpace(names=("a", "b", "c")), Preprocessing()).eval())


def test_awaken_leaves_other_weights_alone():
    net = Kept()
    nn.init.zeros_(net.score.bias)
    weight = net.score.weight.detach().clone()
    assert conformance.awaken(net) is net
    torch.testing.assert_close(net.score.weight.detach(), weight)
    assert net.score.bias.detach().all()
