"""What predict and evaluate put around a network, in which order and in which words; and several models as one."""

import numpy as np
import pytest

from atrous.contract import AtrousError, Geometry, LabelSpace, Preprocessing
from atrous.prediction import averaged, flipped, refined, scaled, windowed
from atrous.verbs.choices import averaged_models, chosen_scorer, model_names


def bright(images):
    first = images[:, :1] / np.float32(255)
    return np.concatenate([first, 1 - first], 1)


def gradient(images):
    """Score by the column, so that windows, sizes and mirror images all matter."""
    columns = np.linspace(0, 1, images.shape[3], dtype=np.float32)
    return bright(images) * 0.5 + 0.5 * np.stack([columns, 1 - columns])[None, :, None]


def halved(image, probabilities):
    return probabilities / 2


IMAGES = np.random.default_rng(0).integers(0, 256, (1, 1, 30, 50), dtype=np.uint8)


def test_nothing_around_it_is_the_scorer_itself():
    found = chosen_scorer(bright)
    assert found.scorer is bright
    assert found.words is None


def test_the_order_is_windows_scales_mirror_images_refiner():
    found = chosen_scorer(gradient, tta=True, scales=(0.5, 1), window=20, overlap=0.5, refiner=halved)
    by_hand = refined(flipped(scaled(windowed(gradient, 20, overlap=0.5), (0.5, 1))), halved)
    np.testing.assert_array_equal(found.scorer(IMAGES), by_hand(IMAGES))
    assert found.words == (
        "windows of 20 x 20 that overlap by 50 %, blended by gaussian weights; the mean of scales 0.5, 1; "
        "the mean with mirror images; refined with halved"
    )


def test_windows_bound_what_the_network_sees_of_an_enlarged_image():
    seen = []

    def looking(images):
        seen.append(images.shape[2:])
        return gradient(images)

    chosen_scorer(looking, scales=(3,), window=20, tta=True).scorer(IMAGES)
    assert max(map(max, seen)) == 20


def test_tta_is_three_scales_and_their_mirror_images():
    seen = []

    def looking(images):
        seen.append(images.shape[2:])
        return gradient(images)

    found = chosen_scorer(looking, tta=True)
    by_hand = flipped(scaled(gradient, (0.75, 1, 1.25)))
    np.testing.assert_array_equal(found.scorer(IMAGES), by_hand(IMAGES))
    assert seen == [(22, 38), (30, 50), (38, 62)] * 2
    assert found.words == "the mean of scales 0.75, 1, 1.25; the mean with mirror images"


def test_scales_alone_mirror_nothing():
    found = chosen_scorer(gradient, scales=(2,))
    np.testing.assert_array_equal(found.scorer(IMAGES), scaled(gradient, (2,))(IMAGES))
    assert found.words == "the mean of scale 2"


def test_a_window_alone_keeps_labels_in_bands():
    found = chosen_scorer(gradient, window=(16, 20))
    np.testing.assert_array_equal(found.scorer.labels(IMAGES), windowed(gradient, (16, 20))(IMAGES).argmax(1))
    assert found.words == "windows of 16 x 20 that overlap by 25 %, blended by gaussian weights"


def test_a_chosen_refiner_brings_its_words():
    from atrous.tuning import chosen

    found = chosen_scorer(bright, refiner=chosen("mild"))
    assert found.words.startswith("refined with mild (w1 2, ")
    nothing = chosen_scorer(bright, refiner=chosen(halved))
    np.testing.assert_allclose(nothing.scorer(IMAGES), bright(IMAGES) / 2)


class Margined:
    geometry = Geometry(multiple=16, offset=12, minimum=188, margin=92)

    def __call__(self, images):
        return bright(images)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scales": (1, 9)}, r"scale 9 came; a number from 0\.1 to 4 is accepted"),
        ({"scales": ()}, "no scales came; give one or more"),
        ({"scales": ("large",)}, "scale 'large' came"),
        ({"window": 200}, "windows of 200 pixels came; this network needs 208 or more"),
        ({"window": 0}, "window size 0 came; one side in pixels"),
        ({"window": 300, "overlap": 0.95}, r"overlap 0\.95 came; a share of a window from 0 to 0\.9 is accepted"),
        ({"overlap": 0.5}, r"overlap 0\.5 came without a window; give the window's size too"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        chosen_scorer(Margined(), **options)


class Known:
    """A scorer that always says the same, and what it knows."""

    def __init__(self, names, share=1.0, high=255, exported=False):
        self.space, self.share = LabelSpace(names=names), share
        self.preprocessing, self.geometry = Preprocessing(high=high), Geometry()
        if not exported:
            self.net = None

    def __call__(self, images):
        values = np.array([self.share, 1 - self.share], np.float32).reshape(1, 2, 1, 1)
        return np.ascontiguousarray(np.broadcast_to(values, (len(images), 2, *images.shape[2:])))


@pytest.fixture
def models(monkeypatch):
    """Return a dict of models by path, which `load` opens."""
    known = {"runs/a": Known(("road", "car"), 1.0), "runs/b": Known(("road", "car"), 0.5)}
    monkeypatch.setattr("atrous.verbs.looking.load", lambda path, **_: known[path])
    return known


def test_models_are_averaged(models):
    assert averaged_models("runs/a") is models["runs/a"]
    for given in ("runs/a,runs/b", "runs/a, runs/b", ["runs/a", "runs/b"]):
        found = averaged_models(given)
        assert found(IMAGES)[0, :, 0, 0].tolist() == [0.75, 0.25]
        assert found.space == models["runs/a"].space
        assert found == averaged(models["runs/a"], models["runs/b"])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Known(("road", "bus")), "runs/b: not the classes of runs/a, .* class 1: runs/a has 'car', runs/b has 'bus'"),
        (Known(("car", "road")), "the first that differs is class 0: runs/a has 'road', runs/b has 'car'"),
        (Known(("road", "car", "bus")), "class 2: runs/a has no class 2, runs/b has 'bus'; only models of the same"),
        (Known(("road", "car"), high=65535), "runs/b: takes values of 0 to 65535, and runs/a of 0 to 255; only models"),
        (Known(("road", "car"), exported=True), "runs/a,runs/b: one is exported and the other is not; export both"),
    ],
)
def test_models_that_cannot_be_averaged(models, other, words):
    models["runs/b"] = other
    with pytest.raises(AtrousError, match=words):
        averaged_models("runs/a,runs/b")


def test_names_of_models(tmp_path):
    assert model_names("a") == ("a",)
    assert model_names("a,b ,c") == ("a", "b", "c")
    folder = tmp_path / "one, two"
    folder.mkdir()
    assert model_names(folder) == model_names(str(folder)) == (str(folder),)
    assert model_names([folder, "b"]) == (str(folder), "b")
    for given in ("", "a,,b", "a,", [], [""]):
        with pytest.raises(ValueError, match=r"models .* came; a model's path, or several with commas between"):
            model_names(given)
