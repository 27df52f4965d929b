"""CRF-as-RNN: the marginals of DenseCRF, gradients against differences, two forms of the filter, and joint training."""

import copy
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from atrous import _core, conformance
from atrous.contract import Geometry, LabelSpace, Preprocessing, Recipe, Sample
from atrous.crf import DenseCRF, crf_as_rnn
from atrous.crf import torch as crf_torch
from atrous.crf.lattice import Lattice
from atrous.crf.sparse import tables
from atrous.crf.torch import CRFasRNN, WithCRF
from atrous.models import Segmenter, deeplab_v3, deeplab_v3plus, fcn32s, unet
from atrous.training import Crops, cross_entropy, prepared, train

CRF = DenseCRF(w1=4, sigma_alpha=10, sigma_beta=20, w2=3, sigma_gamma=2, iterations=5)
SMALL = replace(CRF, w1=1.5, w2=1, sigma_beta=60, iterations=2)
CPU = torch.device("cpu")


def photo(height=20, width=27, channels=3, seed=0):
    """Return uint8 (channels, h, w): two noisy regions, the left one dark."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 60, (channels, height, width), generator=generator)
    image[:, :, width // 2 :] += 150
    return image.to(torch.uint8)


def scores(*shape, seed=1, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def on_host(image):
    return image.permute(1, 2, 0).contiguous().numpy()


def lattice(rows=40, width=23, threads=1, normalisation="before"):
    image = on_host(photo(rows, width))
    return Lattice.of_image(image, sigma_alpha=10, sigma_beta=20, normalisation=normalisation, threads=threads)


def filter_in(dtype, **options):
    return crf_torch.filter_of(lattice(**options), self_message=True, dtype=dtype, device=CPU)


# Marginals


@pytest.mark.parametrize("normalisation", ["symmetric", "before", "after", "none"])
@pytest.mark.parametrize("self_message", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_marginals_are_the_dense_crfs(normalisation, self_message, dtype):
    crf = replace(CRF, normalisation=normalisation, self_message=self_message)
    image, logits = photo(), scores(4, 20, 27)
    expected = crf(on_host(image), logits=logits.numpy())
    assert np.abs(expected - logits.softmax(0).numpy()).max() > 0.1
    for weights in ("scalar", "label", "matrix"):
        layer = CRFasRNN(4, crf, weights=weights).eval()
        with torch.no_grad():
            refined = layer(image[None], logits[None].to(dtype))
        assert refined.dtype == dtype
        np.testing.assert_allclose(refined[0].softmax(0).numpy(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("compatibility", [(1.5, 0.2, 1.0), np.random.default_rng(3).random((3, 3))])
def test_marginals_with_another_compatibility_are_the_dense_crfs(compatibility):
    crf = replace(CRF, compatibility=compatibility)
    image, logits = photo(), scores(3, 20, 27)
    with torch.no_grad():
        refined = CRFasRNN(3, crf).eval()(image[None], logits[None])
    expected = crf(on_host(image), logits=logits.numpy())
    np.testing.assert_allclose(refined[0].softmax(0).numpy(), expected, rtol=0, atol=1e-5)
    assert np.abs(expected - CRF(on_host(image), logits=logits.numpy())).max() > 0.01


def test_without_a_crf_it_starts_from_the_papers():
    layer = CRFasRNN(3)
    assert layer.crf == crf_as_rnn()
    assert (layer.training_iterations, layer.crf.iterations) == (5, 10)
    assert layer.w1.tolist() == [5, 5, 5]
    assert layer.w2.tolist() == [3, 3, 3]
    assert layer.compatibility.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_weights_are_a_number_a_vector_or_a_diagonal():
    scalar, matrix = (CRFasRNN(2, weights=weights) for weights in ("scalar", "matrix"))
    assert (scalar.w1.tolist(), scalar.w2.tolist()) == (5, 3)
    assert (matrix.w1.tolist(), matrix.w2.tolist()) == ([[5, 0], [0, 5]], [[3, 0], [0, 3]])


def test_weights_of_a_label_and_of_pairs_weight_what_they_say():
    image, logits = photo(6, 7)[None], scores(1, 2, 6, 7, dtype=torch.float64)
    layer = CRFasRNN(2, replace(CRF, iterations=1), weights="matrix").double().eval()
    marginals = logits[0].flatten(1).softmax(0)
    bilateral, spatial = (kernel(marginals) for kernel in layer._kernels(on_host(image[0]), logits))
    with torch.no_grad():
        layer.w1.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.w2.zero_()
        layer.compatibility.copy_(torch.tensor([[0.0, 1.0], [0.5, 0.0]]))
        refined = layer(image, logits)[0].flatten(1)
    first, second = bilateral[0] + 2 * bilateral[1], 3 * bilateral[0] + 4 * bilateral[1]
    expected = logits[0].flatten(1) - torch.stack([second, first / 2])
    torch.testing.assert_close(refined, expected)
    assert not torch.allclose(bilateral, spatial, atol=0.01)


def test_training_and_evaluation_have_their_own_iterations():
    image, logits = photo()[None], scores(1, 3, 20, 27)
    layer = CRFasRNN(3, replace(CRF, iterations=7), training_iterations=2)
    for training, iterations in ((True, 2), (False, 7)):
        expected = CRFasRNN(3, replace(CRF, iterations=iterations)).eval()(image, logits)
        assert torch.equal(layer.train(training)(image, logits), expected)


def test_no_iterations_return_the_logits():
    logits = scores(1, 3, 20, 27)
    assert CRFasRNN(3, training_iterations=0)(photo()[None], logits) is logits


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_every_size_and_number_of_channels(size, channels):
    refined = CRFasRNN(2, CRF)(photo(*size, channels)[None], scores(1, 2, *size))
    assert refined.shape == (1, 2, *size)
    assert refined.isfinite().all()


def test_one_class_is_left_alone():
    layer = CRFasRNN(1, CRF)
    logits = scores(1, 1, 4, 5)
    torch.testing.assert_close(layer(photo(4, 5)[None], logits), logits)


def test_images_of_a_batch_do_not_mix():
    images = torch.stack([photo(seed=0), photo(seed=5)])
    logits = scores(2, 3, 20, 27)
    layer = CRFasRNN(3, CRF)
    apart = torch.cat([layer(images[:1], logits[:1]), layer(images[1:], logits[1:])])
    assert torch.equal(layer(images, logits), apart)
    assert not torch.allclose(layer(images.flip(0), logits), apart, atol=0.01)


def test_images_of_any_dtype_are_the_same_and_nothing_is_changed():
    image, logits = photo()[None], scores(1, 3, 20, 27)
    layer = CRFasRNN(3, CRF)
    before, given = layer(image, logits), (image.clone(), logits.clone())
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int16):
        if dtype != torch.bfloat16 or torch.equal(image.to(dtype).to(torch.uint8), image):
            assert torch.equal(layer(image.to(dtype), logits), before)
    assert torch.equal(image, given[0])
    assert torch.equal(logits, given[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_returned_as_it_came(dtype):
    image, logits = photo()[None], scores(1, 3, 20, 27).to(dtype)
    layer = CRFasRNN(3, CRF)
    expected = layer(image, logits.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refined = layer(image, logits)
    assert refined.dtype == dtype
    assert torch.equal(refined, expected.to(dtype))
    assert torch.equal(copy.deepcopy(layer).to(dtype)(image, logits), refined)


# The filter


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_both_forms_of_the_filter_agree(threads, transposed):
    values = scores(5, 40 * 23, dtype=torch.float64)
    assert lattice(threads=threads).core.strips == threads
    compiled = filter_in(torch.float32, threads=threads).gaussian(values.float(), transposed)
    gathered = filter_in(torch.float64, threads=threads).gaussian(values, transposed)
    torch.testing.assert_close(compiled.double(), gathered, rtol=0, atol=1e-5)
    assert not torch.allclose(filter_in(torch.float64).gaussian(values, not transposed), gathered, atol=1e-3)


def test_transposed_is_the_adjoint():
    gaussian = filter_in(torch.float64).gaussian
    a, b = scores(1, 920, dtype=torch.float64), scores(1, 920, seed=2, dtype=torch.float64)
    there, back = (a * gaussian(b, False)).sum(), (gaussian(a, True) * b).sum()
    torch.testing.assert_close(there, back, rtol=1e-12, atol=0)


@pytest.mark.parametrize("self_message", [True, False])
def test_the_filter_has_first_and_second_derivatives(self_message):
    image = on_host(photo(2, 3))
    kernel = crf_torch.filter_of(SMALL.lattice(image), self_message=self_message, dtype=torch.float64, device=CPU)
    values = scores(2, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(kernel, values)
    assert torch.autograd.gradgradcheck(kernel, values)


def test_spatial_filters_are_kept_by_size():
    kept = [crf_torch._spatial(CRF, size, torch.float32, CPU) for size in ((5, 6), (5, 6), (6, 5))]
    assert kept[0] is kept[1]
    assert kept[0] is not kept[2]


def test_lattices_are_built_outside_of_autograd_and_images_get_no_gradient():
    images = photo(4, 5)[None].float().requires_grad_()
    logits = scores(1, 3, 4, 5).requires_grad_()
    CRFasRNN(3, CRF)(images, logits).square().sum().backward()
    assert images.grad is None
    assert logits.grad.any()


# Gradients


@pytest.mark.parametrize("weights", ["scalar", "label", "matrix"])
@pytest.mark.parametrize("self_message", [True, False])
def test_gradients_are_right_in_double_precision(weights, self_message):
    crf = replace(SMALL, self_message=self_message, normalisation="after")
    layer = CRFasRNN(3, crf, weights=weights, training_iterations=3).double()
    image = photo(3, 4)[None]
    names = [name for name, _ in layer.named_parameters()]

    def refined(logits, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (image, logits))

    logits = scores(1, 3, 3, 4, dtype=torch.float64).requires_grad_()
    moved = [(each + 0.1 * scores(*each.shape, dtype=torch.float64)).detach() for each in layer.parameters()]
    assert torch.autograd.gradcheck(refined, (logits, *(each.requires_grad_() for each in moved)))


def test_gradients_of_the_compiled_form_are_those_of_double_precision():
    image, logits = photo()[None], scores(1, 3, 20, 27)
    found = []
    for layer in (CRFasRNN(3, SMALL), CRFasRNN(3, SMALL).double()):
        given = logits.to(layer.w1.dtype, copy=True).requires_grad_()
        (layer(image, given) * scores(1, 3, 20, 27, seed=7)).sum().backward()
        found.append([given.grad, *(each.grad for each in layer.parameters())])
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


# State


def test_state_is_three_parameters_and_comes_back():
    layer, fresh = CRFasRNN(3, CRF, weights="matrix"), CRFasRNN(3, CRF, weights="matrix")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * scores(*parameter.shape))
    assert list(layer.state_dict()) == ["w1", "w2", "compatibility"]
    torch.save(layer.state_dict(), file := io.BytesIO())
    file.seek(0)
    fresh.load_state_dict(torch.load(file))
    image, logits = photo()[None], scores(1, 3, 20, 27)
    expected = layer(image, logits)
    for other in (fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(image, logits), expected)


def test_representation_names_the_numbers():
    assert "3, DenseCRF(w1=4.0" in repr(CRFasRNN(3, CRF))
    assert "training_iterations=5" in repr(CRFasRNN(3, CRF))


# Bad input


@pytest.mark.parametrize(
    ("images", "logits", "words"),
    [
        ((1, 3, 4, 5), (1, 2, 4, 5), r"logits have shape \(1, 2, 4, 5\); \(n, 3, h, w\) is needed for 3 classes"),
        ((1, 3, 4, 5), (3, 4, 5), r"logits have shape \(3, 4, 5\); \(n, 3, h, w\) is needed for 3 classes, each at"),
        ((1, 3, 0, 5), (1, 3, 0, 5), r"logits have shape \(1, 3, 0, 5\); .* each at least 1"),
        ((0, 3, 4, 5), (0, 3, 4, 5), r"logits have shape \(0, 3, 4, 5\); .* each at least 1"),
        ((1, 0, 4, 5), (1, 3, 4, 5), r"images have shape \(1, 0, 4, 5\) and logits \(1, 3, 4, 5\)"),
        (
            (1, 3, 8, 10),
            (1, 3, 4, 5),
            r"images have shape \(1, 3, 8, 10\) and logits \(1, 3, 4, 5\); \(n, c, h, w\) and \(n, 3, h, w\) of one "
            "size are needed: enlarge the logits first, as WithCRF does",
        ),
        ((2, 3, 4, 5), (1, 3, 4, 5), r"images have shape \(2, 3, 4, 5\) and logits \(1, 3, 4, 5\)"),
        ((3, 4, 5), (1, 3, 4, 5), r"images have shape \(3, 4, 5\) and logits \(1, 3, 4, 5\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(images, logits, words):
    with pytest.raises(ValueError, match=words):
        CRFasRNN(3, CRF)(torch.zeros(images), torch.zeros(logits))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits = torch.zeros(1, 3, 4, 5)
    logits[0, 1, 2, 3:] = value
    words = "logits hold NaN or infinity: 2 of 60 values; every value must be finite. If this came up in training, take"
    with pytest.raises(ValueError, match=words):
        CRFasRNN(3, CRF)(torch.zeros(1, 3, 4, 5), logits)


def test_images_that_are_not_finite_are_refused():
    images = torch.zeros(1, 3, 4, 5)
    images[0, 2, 1, 3] = torch.nan
    words = r"image holds NaN: 1 of 60 values, the first at pixel \(1, 3\) of channel 2; give finite values"
    with pytest.raises(ValueError, match=words):
        CRFasRNN(3, CRF)(images, torch.zeros(1, 3, 4, 5))


def test_labels_in_place_of_logits_are_refused():
    with pytest.raises(ValueError, match=r"logits are torch.int64; floating-point scores are needed, not labels"):
        CRFasRNN(3, CRF)(torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 4, 5, dtype=torch.long))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"classes": 0}, ValueError, "classes is 0; 1 or more is needed"),
        ({"classes": 2.5}, TypeError, "classes is 2.5; a whole number is needed"),
        ({"training_iterations": -1}, ValueError, "training_iterations is -1; 0 or more is needed"),
        ({"weights": "class"}, ValueError, "weights is 'class'; scalar, label or matrix is accepted"),
        ({"crf": 4}, TypeError, r"crf is a int; a DenseCRF is needed, as crf_as_rnn\(\) is"),
        (
            {"crf": replace(CRF, prune=0.1, settle=0.01, threads=1)},
            ValueError,
            "crf has prune 0.1, settle 0.01, and a layer computes in full; leave these at their defaults",
        ),
        ({"crf": replace(CRF, mode="exact")}, ValueError, "crf has mode 'exact', and a layer computes in full"),
        ({"crf": replace(CRF, compatibility=(1, 2))}, ValueError, "compatibility is for 2 labels, and 3 came"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        CRFasRNN(**{"classes": 3, **options})


# Learning


def blobs(count, side=24, seed=0):
    """Return images of a bright disc (n, 3, h, w) uint8, its labels, and logits that are right more often than not."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randint(side // 3, side - side // 3, (count, 2, 1, 1), generator=generator)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    labels = ((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2 < (side // 4) ** 2).long()
    noise = torch.randint(0, 40, (count, 3, side, side), generator=generator)
    logits = functional.one_hot(labels, 2).permute(0, 3, 1, 2) + 1.5 * torch.randn(
        count, 2, side, side, generator=generator
    )
    return (noise + 140 * labels[:, None]).to(torch.uint8), labels, logits


def test_learning_the_weights_makes_noisy_logits_accurate():
    images, labels, logits = blobs(4)
    layer = CRFasRNN(2, DenseCRF(w1=0.1, sigma_alpha=10, sigma_beta=20, w2=0.1, sigma_gamma=2), weights="scalar")
    layer.compatibility.requires_grad_(False)
    held_out = blobs(2, seed=9)

    def accuracy():
        with torch.no_grad():
            return float((layer(held_out[0], held_out[2]).argmax(1) == held_out[1]).float().mean())

    before = accuracy()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.2)
    for _ in range(20):
        optimizer.zero_grad()
        cross_entropy(layer(images, logits), labels).backward()
        optimizer.step()
    assert before < 0.8
    assert accuracy() > 0.97
    assert layer.w1 > 0.5


NETS = {
    "deeplab_v3plus": lambda: deeplab_v3plus(2, encoder="resnet18", width=1 / 8),
    "fcn32s": lambda: fcn32s(2, width=1 / 32),
    "unet, with a margin": lambda: unet(2, in_channels=3, width=1 / 16, depth=2),
    "deeplab_v3, with other losses": lambda: deeplab_v3(2, encoder="resnet18", width=1 / 8, auxiliary=True),
}
"""The names of nets, each with what builds it."""


def joined(name, crf=SMALL, **options):
    torch.manual_seed(0)
    return WithCRF(NETS[name](), CRFasRNN(2, crf, training_iterations=2, **options))


@pytest.mark.parametrize("name", list(NETS))
def test_a_net_and_its_crf_learn_together(name):
    net = conformance.awaken(joined(name)).train()
    side = net.geometry.valid(32 + 2 * net.geometry.margin)
    stored, labels, _ = blobs(2, side)
    images = (stored / 255 - net.mean) / net.std
    margin = net.geometry.margin
    labels = labels[:, margin : side - margin, margin : side - margin]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = cross_entropy(net.supervised(images)[0], labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for part in (net.encoder, net.crf):
        assert all(each.grad is not None for each in part.parameters())
    assert all(each.grad.any() for each in net.crf.parameters())
    assert any(each.grad.any() for each in net.encoder.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_training_loop_trains_a_net_with_its_crf(precision):
    images, labels, _ = blobs(4, 32)

    def read(index):
        return Sample(image=on_host(images[index]), labels=labels[index].numpy().astype(np.uint8))

    recipe = Recipe(crop=(32, 32), batch=2, epochs=4, learning_rate=0.05, precision=precision)
    net = joined("deeplab_v3plus")
    started = copy.deepcopy(net.crf.state_dict())
    segmenter = Segmenter(net, LabelSpace(names=("dark", "bright")), Preprocessing())
    crops = Crops(pairs=range(4), read=read, size=recipe.crop, channels=3, fill=(0.0,) * 3, recipe=recipe)
    losses = [step.loss for step in train(prepared(segmenter, crops, device="cpu", workers=0))]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    assert all(not torch.equal(value, started[name]) for name, value in net.crf.state_dict().items())


def test_supervised_keeps_the_nets_other_outputs():
    net = joined("deeplab_v3, with other losses").train()
    images = scores(2, 3, 32, 48)
    main, other = net.supervised(images)
    assert main.shape == (2, 2, 32, 48)
    assert other.shape == net.net.supervised(images)[1].shape
    (alone,) = joined("fcn32s").eval().supervised(images)
    assert torch.equal(alone, joined("fcn32s").eval()(images))


@pytest.mark.parametrize("name", list(NETS))
def test_a_net_with_a_crf_keeps_every_promise(name):
    conformance.check(lambda classes: joined(name), classes=2, sizes=[(1, 1), (1, 33), (31, 20)])


def test_what_training_asks_of_a_net_is_the_nets():
    net = joined("fcn32s")
    assert net.encoder is net.net.encoder
    assert net.classes == 2
    assert net.preprocessing_padding == net.net.preprocessing_padding
    assert net.geometry == replace(net.net.geometry, stride=1)
    assert not hasattr(WithCRF(Cells(), CRFasRNN(2)), "encoder")
    assert [name for name, _ in net.named_parameters() if name.startswith("crf.")] == [
        "crf.w1",
        "crf.w2",
        "crf.compatibility",
    ]
    assert not any("mean" in name or "std" in name for name in net.state_dict() if not name.startswith("net."))


class Cells(nn.Module):
    """A net whose logits are known: the first two channels of every fourth pixel."""

    preprocessing_padding = "mean"

    def __init__(self, **geometry):
        super().__init__()
        self.geometry = Geometry(**{"multiple": 4, "minimum": 4, "stride": 4, **geometry})

    def forward(self, images):
        margin, stride = self.geometry.margin, self.geometry.stride
        inner = images[:, :2, margin : images.shape[2] - margin, margin : images.shape[3] - margin]
        return inner[:, :, ::stride, ::stride]


class Recorded(CRFasRNN):
    """A CRF that keeps what it is given."""

    def forward(self, images, logits):
        self.given = images, logits
        return super().forward(images, logits)


@pytest.mark.parametrize(
    ("geometry", "size", "align"),
    [
        ({}, (8, 12), False),
        ({"offset": 1, "align_corners": True}, (9, 13), True),
        ({"margin": 2, "multiple": 4}, (12, 16), False),
    ],
)
def test_logits_are_enlarged_to_the_image_without_its_margin(geometry, size, align):
    net, images = Cells(**geometry), scores(1, 3, *size)
    crf = Recorded(2, CRF)
    joint = WithCRF(net, crf)
    refined = joint(images)
    margin = net.geometry.margin
    inner = (size[0] - 2 * margin, size[1] - 2 * margin)
    expected = functional.interpolate(net(images), inner, mode="bilinear", align_corners=align)
    assert torch.equal(crf.given[1], expected)
    assert refined.shape == (1, 2, *inner)
    seen = images[:, :, margin : size[0] - margin, margin : size[1] - margin]
    assert torch.equal(crf.given[0], 255 * (seen * joint.std + joint.mean))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("high", [255, 65535])
def test_the_crf_sees_the_colours_as_they_were_stored(order, high):
    preprocessing = Preprocessing(order=order, high=high)
    crf = Recorded(2, CRF)
    segmenter = Segmenter(
        WithCRF(Cells(), crf, preprocessing=preprocessing), LabelSpace(names=("a", "b")), preprocessing
    )
    stored = photo(8, 12)[None]
    segmenter(stored)
    torch.testing.assert_close(crf.given[0], stored * (255 / high), rtol=0, atol=1e-4)


def test_caffes_preprocessing_is_undone_too():
    preprocessing = Preprocessing(order="BGR", low=0, high=1, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))
    crf = Recorded(2, CRF)
    joint = WithCRF(Cells(), crf, preprocessing=preprocessing)
    stored = photo(8, 12)[None]
    Segmenter(joint, LabelSpace(names=("a", "b")), preprocessing)(stored)
    torch.testing.assert_close(crf.given[0], stored.float(), rtol=0, atol=1e-3)


def test_a_segmenters_probabilities_are_those_of_the_dense_crf():
    net, space, preprocessing = Cells(), LabelSpace(names=("a", "b")), Preprocessing()
    stored = photo(8, 12)
    plain = Segmenter(net, space, preprocessing).eval()
    refined = Segmenter(WithCRF(net, CRFasRNN(2, CRF)), space, preprocessing).eval()(stored[None])[0]
    expected = CRF(on_host(stored), logits=plain.logits(stored[None])[0].numpy())
    np.testing.assert_allclose(refined.detach().numpy(), expected, rtol=0, atol=1e-4)


def test_a_crf_for_other_classes_than_the_nets_is_refused():
    words = "the net scores 2 classes, and the CRF is for 3; give it as many"
    with pytest.raises(ValueError, match=words):
        WithCRF(NETS["fcn32s"](), CRFasRNN(3))


def test_images_of_other_channels_than_the_preprocessings_are_refused():
    net = WithCRF(Cells(), CRFasRNN(2), preprocessing=Preprocessing(mean=(0.5,) * 4, std=(0.2,) * 4))
    words = "images of 3 channels came, and the preprocessing of WithCRF has 4: give it the one that they were"
    with pytest.raises(ValueError, match=words):
        net(torch.zeros(1, 3, 8, 8))


# The tables


@pytest.mark.parametrize("threads", [1, 3])
def test_tables_name_every_neighbour_twice(threads):
    core = lattice(threads=threads).core
    found = tables(core)
    assert found.corners.shape == (6, core.points)
    assert found.corners.max() == core.size - 1
    everyone = np.arange(core.size)
    for before, behind in found.neighbours:
        assert before[-1] == behind[-1] == core.size
        has = behind[:-1] < core.size
        assert has.any()
        np.testing.assert_array_equal(before[behind[:-1][has]], everyone[has])


def test_filters_are_the_same_in_any_number_of_strips():
    values = scores(2, 920).numpy()
    one, three = (_core.filtered(lattice(threads=threads).core, values) for threads in (1, 3))
    np.testing.assert_allclose(one, three, rtol=0, atol=1e-6)
