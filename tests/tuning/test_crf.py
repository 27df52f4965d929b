"""The search of the CRF's numbers: it finds the summit of a known surface, and leaves well alone."""

import itertools
import json
import threading

import numpy as np
import pytest

from atrous.contract import AtrousError, LabelSpace
from atrous.data import write_image
from atrous.data.pairs import Pair
from atrous.data.writers import check_figure
from atrous.tuning import Grid, Numbers, Trial, crf_sweep, searched, tuned, write_plot
from atrous.tuning.cases import Case
from atrous.tuning.crf import around, best_of, most_trials
from atrous.tuning.surface import _draw, _panels

SPACE = LabelSpace(names=("dark", "light"))
SMALL = Grid(w1=(3, 6), sigma_alpha=(30, 70), sigma_beta=(3, 7), w2=(1, 3), sigma_gamma=(1, 3))
SUMMIT = Numbers(w1=6, sigma_alpha=50, sigma_beta=3, w2=1, sigma_gamma=3)


def one_hot(labels):
    return np.stack([labels == 0, labels == 1]).astype(np.float32)


def case(seed, shape=(20, 60)):
    """Return an image whose right is bright and of the second class, and a network that finds the edge askew."""
    truth = edge(shape, 10 + seed, 0)
    return Case((truth * np.uint8(255))[..., None], truth, 0.8 * one_hot(edge(shape, 10 + seed, 2)) + np.float32(0.1))


def edge(shape, column, slope):
    """Return labels whose edge begins at a column and moves by the slope from row to row."""
    rows, columns = np.indices(shape)
    return (columns >= np.round(column + slope * rows)).astype(np.uint8)


def cases(count=3):
    return [lambda seed=seed: case(seed) for seed in range(count)]


def hill(summit):
    """Return a sweep that finds the edge the steeper the nearer numbers are to the summit."""

    def sweep(image, probabilities, candidates):
        column = int((image[0, :, 0] == 0).sum())
        for candidate in candidates:
            distance = sum(abs(np.log2(value / best)) for value, best in zip(candidate, summit, strict=True))
            yield one_hot(edge(image.shape[:2], column, 2 - 2 / (1 + distance)))

    return sweep


def harmful(image, probabilities, candidates):
    for _ in candidates:
        yield np.roll(probabilities, 1, 2)


@pytest.mark.parametrize("objective", ["mean_iou", "pixel_accuracy", "boundary_f"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_summit_is_found(objective, threads):
    told = []
    trials = searched(
        cases(), SPACE, hill(SUMMIT), objective=objective, grid=SMALL, threads=threads, progress=told.append
    )
    assert best_of(trials).numbers == SUMMIT
    assert best_of(trials).score == 1
    assert trials[0].numbers is None
    assert trials[0].score < 0.9
    stages = [stage for stage, _ in itertools.groupby(trials, lambda trial: trial.stage)]
    assert stages == ["published", "coarse", "fine", "smoothness", "finest"]
    tried = [trial.numbers for trial in trials]
    assert len(set(tried)) == len(tried)
    assert told == sorted(told)
    assert told[-1] == 3 * len(trials) <= 3 * most_trials(SMALL, [])


def test_the_scores_are_those_of_all_images_together():
    from atrous.evaluation import Scores

    trials = searched(cases(), SPACE, harmful, grid=SMALL, threads=2)
    parts = [
        Scores.of(each.truth, each.probabilities.argmax(0).astype(np.uint8), SPACE) for each in map(case, range(3))
    ]
    assert trials[0].score == (parts[0] + parts[1] + parts[2]).mean_iou


def test_the_paper_s_order_of_things():
    """w2 and sigma_gamma are 3 while the others are searched, and published numbers are tried as they are."""
    published = [Numbers(2, 30, 5, 1, 1)]
    trials = searched(cases(1), SPACE, hill(SUMMIT), grid=SMALL, published=published)
    stages = {stage: [t.numbers for t in trials if t.stage == stage] for stage in ("published", "coarse", "fine")}
    assert stages["published"] == [None, *published]
    assert len(stages["coarse"]) == 8
    assert {each[3:] for each in stages["coarse"] + stages["fine"]} == {(3, 3)}


def test_no_crf_wins_where_every_one_harms():
    trials = searched(cases(), SPACE, harmful, grid=SMALL)
    assert best_of(trials).numbers is None
    same = [Trial(stage="published", numbers=None, score=0.5), Trial(stage="coarse", numbers=SUMMIT, score=0.5)]
    assert best_of(same).numbers is None


def test_neighbours_are_half_way_to_what_was_tried():
    grid = itertools.product((3, 6, 10), (30, 50), (3,))
    trials = [Trial(stage="coarse", numbers=Numbers(*three, 3, 3), score=0) for three in grid]
    trials.append(Trial(stage="published", numbers=Numbers(5, 49, 2, 3, 3), score=0))
    found = around(Numbers(6, 50, 3, 3, 3), trials)
    assert len(found) == 27
    values = [sorted(set(each)) for each in zip(*found, strict=True)]
    assert values == [[4.5, 6, 8], [40, 50, 60], [1.5, 3, 4.5], [3], [3]]


def test_images_are_refined_at_the_same_time():
    meeting = threading.Barrier(2, timeout=20)

    def sweep(image, probabilities, candidates):
        meeting.wait()
        return harmful(image, probabilities, candidates)

    assert searched(cases(2), SPACE, sweep, grid=SMALL, threads=2)


def test_sweeps_of_weights_share_a_lattice(monkeypatch):
    from atrous.crf import DenseCRF, Lattice

    made = []
    of_image = Lattice.of_image
    monkeypatch.setattr(Lattice, "of_image", lambda *given, **named: made.append(named) or of_image(*given, **named))
    given = case(0, shape=(12, 17))
    candidates = [Numbers(2, 30, 5, 1, 1), Numbers(4, 30, 5, 1, 2), Numbers(4, 30, 6, 1, 2)]
    found = list(crf_sweep(given.image, given.probabilities, candidates))
    assert len(made) == 2
    for marginals, candidate in zip(found, candidates, strict=True):
        alone = DenseCRF(**candidate._asdict(), threads=1)(given.image, given.probabilities)
        np.testing.assert_array_equal(marginals, alone)


def test_what_a_search_refuses():
    with pytest.raises(ValueError, match="objective 'dice' came; mean_iou, boundary_f, pixel_accuracy are possible"):
        searched(cases(), SPACE, harmful, objective="dice")
    void = case(0)._replace(truth=np.full((20, 60), 255, np.uint8))
    with pytest.raises(AtrousError, match="no pixel of these images is counted: every mask is empty or ignore"):
        searched([lambda: void], SPACE, harmful, grid=SMALL)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"w1": ()}, ValueError, r"w1 is empty; at least one number is needed, such as \(3,\)"),
        ({"w1": 3}, TypeError, r"w1 is 3; some numbers are needed, such as \(3, 6\)"),
        ({"w2": "35"}, TypeError, r"w2 is '35'; some numbers are needed"),
        ({"w2": (1, "3")}, TypeError, r"w2 is '3'; a number is needed"),
        ({"w1": (-1,)}, ValueError, r"w1 is -1; a finite number of at least 0"),
        ({"w1": (1e13,)}, ValueError, r"w1 is 1e\+13; a finite number of at least 0 and below 1e\+12 is needed"),
        ({"sigma_alpha": (30, 0)}, ValueError, r"sigma_alpha is 0; a finite number above 0 is needed"),
        ({"sigma_beta": (float("nan"),)}, ValueError, r"sigma_beta is nan; a finite number above 0 is needed"),
        ({"sigma_gamma": (float("inf"),)}, ValueError, r"sigma_gamma is inf; a finite number above 0 is needed"),
    ],
)
def test_what_a_grid_refuses(values, error, words):
    with pytest.raises(error, match=words):
        Grid(**values)


def test_a_grid_is_kept_ascending_and_each_value_once():
    assert Grid(w1=[6, 3, 6.0]) == Grid(w1=(3, 6))
    assert Grid(w1=np.array([6, 3])).w1 == (3, 6)


def test_the_published_numbers_are_those_of_the_normalisation_that_is_searched(pairs):
    from atrous.crf import DenseCRF, deeplab_v2, mild

    found = tuned(wrong_in_places, pairs[:1], SPACE, grid=SMALL).trials
    published = [trial.numbers for trial in found if trial.stage == "published"]
    assert published[0] is None
    assert {DenseCRF(**each._asdict()) for each in published[1:]} == {mild(), deeplab_v2()}  # by crf_sweep's defaults


def test_an_image_that_the_sweep_refuses_is_told(tmp_path):
    def refuses(image, probabilities, candidates):
        raise ValueError("no")
        yield

    def nothing(image, probabilities, candidates):
        for _ in candidates:
            yield probabilities * np.nan

    given = [lambda: case(0)._replace(path=tmp_path / "a.png")]
    with pytest.raises(AtrousError, match=r"/a.png: no$"):
        searched(given, SPACE, refuses, grid=SMALL)
    with pytest.raises(AtrousError, match=r"/a.png: the refiner returned NaN or infinity in 2400 of 2400 values"):
        searched(given, SPACE, nothing, grid=SMALL)


# From a scorer and files ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelled")
    for index in range(7):
        write_image(root / f"{index}.png", case(index).image)
        write_image(root / f"m{index}.png", case(index).truth)
    return [Pair(f"{index}", root / f"{index}.png", root / f"m{index}.png") for index in range(7)]


def wrong_in_places(images):
    """Score by brightness, and be wrong in every fifth column from the first."""
    light = (images[:, 0] > 127).astype(np.float32)
    light[:, :, ::5] = 1 - light[:, :, ::5]
    return np.stack([1 - light, light], 1) * np.float32(0.8) + np.float32(0.1)


def test_tuned_on_some_and_scored_on_the_rest(pairs):
    told, scored = [], []

    def scorer(images):
        scored.append(images)
        return wrong_in_places(images)

    found = tuned(
        scorer,
        pairs,
        SPACE,
        images=3,
        grid=SMALL,
        sweep=hill(SUMMIT),
        progress=lambda done, total: told.append((done, total)),
    )
    assert found.images == ("0", "3", "6")
    assert len(scored) == 7  # once for each
    assert found.best == SUMMIT
    assert found.tuned.before.scores.images == 3
    assert found.held_out.before.scores.images == 4
    for side in (found.tuned, found.held_out):
        assert side.before.means["pixel_accuracy"] == pytest.approx(0.8)
        assert side.after.means["pixel_accuracy"] == 1
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert len({total for _, total in told}) == 1
    text = found.as_text()
    assert "On the images it was tuned on, which flatters:" in text
    assert "On the other images of the split:" in text
    assert "w1 6, sigma_alpha 50, sigma_beta 3, w2 1, sigma_gamma 3" in text
    assert text.splitlines()[3].split()[:7] == [
        "6",
        "50",
        "3",
        "1",
        "3",
        "100.00",
        f"{100 - 100 * found.trials[0].score:+.2f}",
    ]
    stored = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert stored["crf"] == SUMMIT._asdict()
    assert stored["trials"][0] == {"stage": "published", "crf": None, "score": found.trials[0].score}
    assert len(stored["trials"]) == stored["tried"] == len(found.trials)


def test_all_images_leave_none_to_hold_out(pairs):
    found = tuned(wrong_in_places, pairs, SPACE, grid=SMALL, sweep=harmful)
    assert found.held_out is None
    assert found.best is None
    assert found.tuned.after is found.tuned.before
    assert found.as_stored()["crf"] is None
    assert "No CRF is better than any that was tried" in found.as_text()
    assert "no CRF" in found.as_text().splitlines()[3]


def test_what_tuning_refuses(pairs, tmp_path):
    with pytest.raises(ValueError, match="images 0 of 7 came; tuning needs at least 1"):
        tuned(wrong_in_places, pairs, SPACE, images=0)
    with pytest.raises(AtrousError, match=r"0.png: has no mask, and a score needs one"):
        tuned(wrong_in_places, [Pair("0", pairs[0].image, None)], SPACE, sweep=harmful)


def test_the_surface_is_drawn(pairs, tmp_path):
    found = tuned(wrong_in_places, pairs[:2], SPACE, grid=SMALL, sweep=hill(SUMMIT))
    write_plot(tmp_path / "surface.png", found)
    write_plot(tmp_path / "surface.svg", found)
    assert (tmp_path / "surface.png").read_bytes()[:4] == b"\x89PNG"
    drawn = (tmp_path / "surface.svg").read_text("utf-8")
    for words in ("w1 3; w2 3, sigma_gamma 3", "w1 6; w2 3", "sigma_gamma", "change of mean IoU, points"):
        assert words in drawn
    with pytest.raises(ValueError, match=r"--plot surface.bmp: a figure is written as .*png.*; choose one of these"):
        check_figure("surface.bmp")


def test_the_maps_have_no_holes():
    """A pair that an earlier stage has tried is drawn, too."""
    trials = searched(cases(1), SPACE, hill(Numbers(3, 30, 3, 3, 3)), grid=SMALL)
    *maps, smooth = _panels(tuple(trials))
    assert [len(each[2]) for each in maps] == [4, 4]
    assert len([trial for trial in trials if trial.stage == "smoothness"]) == 3
    assert {trial.numbers[3:] for trial in smooth[2]} == set(itertools.product((1, 3), (1, 3)))


@pytest.mark.parametrize("w2", [(1, 3), (3,), (1, 2)])
@pytest.mark.parametrize("sigma_gamma", [(1, 3), (1, 2)])
def test_no_cell_of_the_last_map_is_blank(w2, sigma_gamma):
    """Every pair of the grid has a cell, that of the coarse stage as well, whatever shape the grid has."""
    from matplotlib.figure import Figure

    grid = Grid(w1=(3, 6), sigma_alpha=(30,), sigma_beta=(3,), w2=w2, sigma_gamma=sigma_gamma)
    trials = searched(cases(1), SPACE, hill(Numbers(3, 30, 3, 3, 3)), grid=grid)
    smooth = _panels(tuple(trials))[-1]
    gains = _draw(Figure().subplots(), *smooth, trials[0].score, 1.0).get_array()
    assert {trial.numbers[3:] for trial in smooth[2]} >= set(itertools.product(w2, sigma_gamma))
    assert np.isfinite(np.ma.filled(gains, np.nan)).all()


def test_a_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(AtrousError, match=r'--plot needs matplotlib: pip install "atrous\[plots\]"'):
        check_figure("surface.png")
