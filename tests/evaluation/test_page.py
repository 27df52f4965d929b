"""The page of an evaluation: whole without anything from outside, names escaped, readable for 2 and for 150 classes."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from atrous.contract import AtrousError, LabelSpace
from atrous.evaluation import Evaluation, joined
from atrous.evaluation.charts import Line, bar, lines, scatter, ticks
from atrous.evaluation.gallery import Gallery, errors
from atrous.evaluation.page import page
from atrous.evaluation.report import Report, stored
from atrous.evaluation.sizes import RegionSizes
from atrous.evaluation.versus import Versus
from atrous.evaluation.versus_page import versus_page

EVIL = '<script>alert("x")</script>'


class Closed(HTMLParser):
    """Read a page and fail where an element is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br", "rect", "circle", "path", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in ("rect", "circle", "path", "polyline"):
            return
        assert self.open[-1] == tag, (tag, self.open)
        self.open.pop()


def made(classes=2, *, images=3, measures=(), names=None, seed=0, wrong=0.2):
    random = np.random.default_rng(seed)
    space = LabelSpace(names=names or tuple(f"class {index}" for index in range(classes)))
    gallery, parts, sizes = Gallery(space=space), [], []
    for index in range(images):
        truth = random.integers(0, classes, (4, 5), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
        labels = np.where(random.random(truth.shape) < wrong, random.integers(0, classes, truth.shape), truth)
        labels = labels.astype(np.uint8)
        scores = np.eye(classes, dtype=np.float32)[labels].transpose(2, 0, 1) * 0.8 + 0.2 / classes
        each = Evaluation.of(f"{EVIL}{index}", truth, labels, space, measures=measures, probabilities=scores)
        gallery.offer(each.per_image.names[0], float(each.per_image.mean_iou[0]), truth, labels, image=None)
        parts.append(each)
        sizes.append(RegionSizes.of(truth, labels, space))
    about = {"model": EVIL, "split": "val", "notes": [EVIL]}
    curves = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": float("nan"), "mean_iou": None}]
    return Report(evaluation=joined(parts), about=about, sizes=joined(sizes), gallery=gallery, curves=curves)


def checked(text):
    parser = Closed()
    parser.feed(text)
    assert parser.open == []
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:)|@import|url\(', text)
    assert not re.search(r"\b(nan|None|inf)\b", re.sub(r'base64,[^"]*', "", text))
    return text


def test_two_classes_with_every_measure():
    measures = ("boundary", "trimap", "boundary_iou", "distances", "objects", "rand", "warping", "calibration")
    text = checked("".join(page(made(measures=measures))))
    for heading in ("Near the contours", "Boundary F", "Distances of contours", "Rand error of cells", "Calibration"):
        assert f">{heading}</h" in text
    assert "&lt;script&gt;" in text


def test_the_figures_are_those_of_the_scores():
    report = made(3)
    text = "".join(page(report))
    for iou, share in zip(report.scores.iou, report.scores.recall, strict=True):
        assert f"<td>{100 * iou:.2f}</td>" in text
        assert f"{100 * share:.1f}<small>" in text
    interval = report.intervals.mean_iou
    assert f"{100 * interval.low:.2f} to {100 * interval.high:.2f}" in text


def test_150_classes_are_a_picture_and_a_list():
    text = checked("".join(page(made(150, images=2))))
    assert 'alt="confusion"' in text
    assert "Most often mixed up" in text
    assert 'class="matrix"' not in text
    assert len(text) < 1_000_000


def test_a_class_with_hostile_name():
    checked("".join(page(made(names=(EVIL, 'b"<')))))


def test_one_image_says_that_there_is_no_interval():
    assert "one image: there is no interval" in "".join(page(made(images=1))).lower()


def test_two_reports_side_by_side():
    both = [made(measures=("trimap", "calibration"), seed=0), made(measures=("trimap", "calibration"), seed=0)]
    versus = Versus.of(*(report.per_image for report in both), names=("a", EVIL))
    text = checked("".join(versus_page(versus, [report.as_json() for report in both], shown=[(EVIL, "<b>x</b>")])))
    assert "Other measures" in text
    assert "reliability" in text


def test_what_is_not_the_same_is_not_compared():
    one, other, third = made(2).per_image, made(3).per_image, made(2, images=2).per_image
    with pytest.raises(AtrousError, match="first has 2 classes and second 3: only second has class 2"):
        Versus.of(one, other, names=("first", "second"))
    with pytest.raises(AtrousError, match="first was scored on 3 images and second on 2, which are not the same"):
        Versus.of(one, third, names=("first", "second"))
    with pytest.raises(AtrousError, match="scored against other masks: those of 2 images differ"):
        Versus.of(one, made(2, seed=5).per_image, names=("first", "second"))
    swapped = made(names=("class 1", "class 0")).per_image
    with pytest.raises(AtrousError, match="have the same classes in another order"):
        Versus.of(one, swapped, names=("first", "second"))


def test_class_intervals_hold_the_difference():
    worse, better = made(images=20, wrong=0.3).per_image, made(images=20, wrong=0.1).per_image
    versus = Versus.of(worse, better, names=("a", "b"))
    assert all(0 < row["low"] < row["difference"] < row["high"] for row in versus.classes)
    assert versus.differences["mean_iou"].significant
    assert versus.won[0] > 15
    assert [row[2] - row[1] for row in versus.gains] == sorted(
        (two - one for _, one, two in versus.gains), reverse=True
    )


def test_json_goes_round(tmp_path):
    report = made(3)
    found = stored(report.as_json(), tmp_path / "a.json")
    np.testing.assert_array_equal(found.per_image.counts, report.per_image.counts)
    with pytest.raises(AtrousError, match=r"a.json: format 99; this version reads up to 1"):
        stored({**report.as_json(), "format": 99}, tmp_path / "a.json")
    with pytest.raises(AtrousError, match=r"a.json: the classes cannot be read"):
        stored({**report.as_json(), "classes": [1]}, tmp_path / "a.json")


# Parts ----------------------------------------------------------------------------------------------------------------


def test_charts_leave_out_what_is_not_finite():
    drawn = lines(
        [Line(name="a", points=[(0, 1), (1, float("nan")), (2, float("inf")), (3, 2)])], x="x", y="y", title="t"
    )
    assert drawn.count("<circle") == 2
    assert "there are no numbers to draw" in lines([Line(name="a", points=[(0, float("nan"))])], x="", y="", title="t")
    assert "there are no numbers to draw" in scatter([], names=[], x="", y="", title="t")
    assert lines([Line(name="a", points=[(1, 5)])], x="", y="", title="t").count("<circle") == 1
    assert bar(float("nan")) == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.30001, 0.30002), (-5, 1e6), (1e-9, 2e-9), (99, 100)])
def test_ticks_are_few_and_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-9 * abs(high) for tick in found)


def test_errors_are_red_and_void_is_black():
    truth, labels = np.uint8([[0, 1, 255]]), np.uint8([[1, 1, 0]])
    assert errors(truth, labels)[0].tolist() == [[214, 39, 40], [170, 170, 170], [0, 0, 0]]


def test_the_gallery_keeps_the_worst_and_the_best():
    gallery = Gallery(space=LabelSpace(names=("a", "b")), limit=2)
    labels = np.zeros((8, 8), np.uint8)
    for score in (0.5, 0.1, 0.9, float("nan"), 0.4, 0.95, 0.05):
        gallery.offer(str(score), score, labels, labels, image=None)
    assert [each.name for each in gallery.worst] == ["0.05", "0.1"]
    assert [each.name for each in gallery.best] == ["0.95", "0.9"]


def test_regions_by_size():
    space = LabelSpace(names=("ground", "cell"))
    truth = np.zeros((12, 30), np.uint8)
    truth[1, 1], truth[4:6, 4:6], truth[2:10, 12:24] = 1, 1, 1
    labels = truth.copy()
    labels[1, 1] = 0  # the small one is missed
    labels[2:10, 24] = 1  # the large one is found too wide
    small, medium, large = RegionSizes.of(truth, labels, space).thirds(1)
    assert (small["recall"], medium["recall"], large["recall"]) == (0, 1, 1)
    assert (small["largest"], medium["largest"], large["largest"]) == (1, 4, 96)
    assert large["iou"] == 96 / 104
    assert RegionSizes.of(truth, labels, space).thirds(0) == []
