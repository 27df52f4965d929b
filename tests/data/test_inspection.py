"""The doctor's report: words, JSON, shares, objects, details; and what real sets may be said to have."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from atrous.contract import AtrousError, LabelSpace
from atrous.data import examine, fingerprint, inspect_dataset, open_dataset
from atrous.data.census import in_threads, workers
from atrous.data.diagnosis import REMEDIES, copies, regions, turning
from atrous.data.diagnosis.page import chosen
from atrous.data.inspection import report as report_of

sys.path.append(str(Path(__file__).parent))  # tests are no package, so they import no neighbours
broken, sets = import_module("broken_sets"), import_module("sound_sets")


@pytest.fixture
def sound(tmp_path):
    return sets.write_set(tmp_path)


def test_the_report_of_a_sound_set(sound):
    report = inspect_dataset(sound)
    assert (report.images, report.splits, report.layout) == (18, {"train": 12, "val": 6}, "folders")
    assert (report.channels, report.dtypes, report.encoding) == ((3,), ("uint8",), "indices")
    first = report.classes[1]
    masks = [np.asarray(Image.open(path)) for path in sets.mask_paths(sound)]
    pixels = sum(int((mask == 1).sum()) for mask in masks)
    assert (first["name"], first["value"], first["pixels"], first["images"]) == ("class 1", 1, pixels, 18)
    assert first["pixel_share"] == pytest.approx(pixels / (18 * 64 * 96))
    assert first["image_share"] == 1
    assert (first["regions"], first["small"]) == (18, 18)
    assert first["median_area"] == np.median([(mask == 1).sum() for mask in masks])
    assert sum(entry["pixel_share"] for entry in report.classes) == pytest.approx(1)
    assert "findings: none" in report.as_text()
    told = json.loads(json.dumps(report.as_json()))
    assert {"layout", "images", "classes", "findings", "notes"} <= set(told)
    assert told["findings"] == []


def test_a_finding_lists_twenty_files_and_counts_all(tmp_path):
    sets.write_set(tmp_path, train=30, val=6)
    for path in sets.mask_paths(tmp_path)[:25]:
        path.unlink()
    (finding,) = inspect_dataset(tmp_path).findings
    assert (len(finding.files), len(finding.details), finding.count) == (20, 20, 25)
    text = inspect_dataset(tmp_path).as_text()
    assert "image-without-mask (25): Add masks" in text
    assert "and 22 more" in text
    told = inspect_dataset(tmp_path).as_json()["findings"][0]
    assert set(told) == {"kind", "files", "count", "remedy", "details"}
    assert len([each for each in examine(tmp_path).problems if each.kind == "image-without-mask"]) == 25


def test_details_say_what_exactly_is_wrong(sound):
    path = sound / "masks/train/t04.png"
    mask = np.array(Image.open(path))
    mask[0, :7], mask[1, :2] = 22, 30
    sets.save(path, mask)
    (finding,) = inspect_dataset(sound, classes=sets.NAMES).findings
    assert finding.details == (
        "masks/train/t04.png: label 22 is outside 0..3; 7 pixels have it and 1 more such values came",
    )


def test_a_long_sentence_is_said_once(tmp_path):
    broken.BROKEN["numbers of objects in two masks"].make(tmp_path)
    first, second = inspect_dataset(tmp_path).findings[0].details
    assert "these look like object numbers, not classes" in first
    assert second == "masks/val/v00.png: the same"


def test_pictures_that_no_layout_used_are_noted(sound):
    assert inspect_dataset(sound).notes == ()
    for place in range(370):
        path = sound / "elsewhere" / f"{place % 7}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (note,) = inspect_dataset(sound).notes
    assert note.startswith(
        "layout folders uses 36 files, and 370 more pictures lie in the folder, such as elsewhere/0/"
    )


def test_problems_know_their_pairs(sound):
    broken.filled(0, "masks/train/t04.png")(sound)
    seen = examine(sound)
    ((row,),) = seen.rows()
    assert (seen.problems[0].pair, seen.looks[row].pair.name) == ("images/train/t04",) * 2


def test_a_broken_slice_leaves_the_others(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for volume in range(6):
        labels = np.stack([sets.labels_of(10 * volume + place) for place in range(4)], axis=2)
        image = np.stack([sets.image_of(labels[..., place], volume)[..., 0] for place in range(4)], axis=2)
        if volume == 1:
            labels[..., 2] = image[..., 2]
        for kind, array in (("images", image), ("labels", labels)):
            (tmp_path / kind).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / kind / f"v{volume}.nii.gz")
    seen = examine(tmp_path)
    assert [(problem.kind, len(rows)) for problem, rows in zip(seen.problems, seen.rows(), strict=True)] == [
        ("mask-is-image", 1)
    ]
    assert (seen.counts.sum(axis=1) > 0).sum() == 23
    ((row,),) = seen.rows()
    kinds = {look.pair.name: found for look, found in chosen(seen)}
    assert kinds[seen.looks[row].pair.name] == ("mask-is-image",)
    assert sum(bool(found) for found in kinds.values()) == 1


def test_a_wrong_value_of_a_colour_and_of_values_with_gaps(tmp_path):
    sets.write_set(tmp_path, encode=lambda labels: sets.COLOURS[labels])
    colours = tuple(tuple(int(part) for part in colour) for colour in sets.COLOURS[:3])
    space = LabelSpace(names=("a", "b", "c"), colours=colours, values=colours, ignore=None, encoding="colours")
    details = inspect_dataset(tmp_path, space=space).findings[0].details
    assert "colour (40, 60, 220) is no class" in details[0]
    sets.write_set(tmp_path / "gaps")
    space = LabelSpace(names=("a", "b", "c"), values=(0, 2, 3))
    assert "label 1 is none of 0, 2, 3" in inspect_dataset(tmp_path / "gaps", space=space).findings[0].details[0]


def test_several_defects_are_several_findings(sound):
    broken.altered(np.zeros_like, "masks/train/t01.png")(sound)
    (sound / "images/val/v00.png").write_bytes(b"")
    broken.photo_as_mask(sound)
    kinds = [finding.kind for finding in inspect_dataset(sound).findings]
    assert kinds == ["unreadable-file", "mask-is-image", "empty-mask"]


def test_a_spoilt_mask_does_not_spoil_the_classes(sound):
    broken.photo_as_mask(sound)
    report = inspect_dataset(sound)
    assert [entry["name"] for entry in report.classes] == ["class 0", "class 1", "class 2", "class 3"]
    assert report.classes[0]["images"] == 17


def test_masks_that_cannot_be_read_are_one_finding(sound):
    for path in sets.mask_paths(sound):
        path.write_bytes(b"")
    assert [(each.kind, each.count) for each in inspect_dataset(sound).findings] == [("unreadable-file", 18)]


def test_one_mask_of_strange_values_is_named_once(sound):
    sets.save(sound / "masks/val/v02.png", np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) // 8 * 8)
    report = inspect_dataset(sound)
    assert [(each.kind, each.files) for each in report.findings] == [("classes-unknown", ("masks/val/v02.png",))]
    assert len(report.classes) == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_values_that_are_no_numbers_are_looked_at(sound, value):
    image = np.random.default_rng(0).normal(0, 1, (64, 96)).astype(np.float32)
    image[3, 4] = value
    (sound / "images/train/t00.png").unlink()
    tifffile.imwrite(sound / "images/train/t00.tif", image)
    report = inspect_dataset(sound)
    assert [each.kind for each in report.findings] == ["mixed-depth"]
    assert any(note.startswith("grey images: 1") for note in report.notes)


def test_object_numbers(tmp_path):
    sets.objects(tmp_path)
    report = inspect_dataset(tmp_path, labels="indices")
    assert (report.findings, report.encoding) == ((), "indices")
    report = inspect_dataset(tmp_path)
    assert (report.findings, report.encoding) == ((), "instances")
    assert any(note.startswith("the masks number objects, so 0 is background") for note in report.notes)
    numbers = [len(np.unique(np.asarray(Image.open(path)))) - 1 for path in sets.mask_paths(tmp_path)]
    assert report.classes[1]["regions"] == sum(numbers)


def test_soft_masks_in_words(tmp_path):
    broken.BROKEN["all masks soft"].make(tmp_path)
    assert inspect_dataset(tmp_path).encoding == "soft"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("mostly background", "9 of 18 masks hold class 0 alone"),
        ("grey among colour", "grey images: 4, in colour: 14; grey is repeated to three"),
    ],
)
def test_notes(tmp_path, name, note):
    sets.SOUND[name].make(tmp_path)
    report = inspect_dataset(tmp_path)
    assert note in report.notes
    assert f"note: {note}" in report.as_text()


def test_rare_and_absent_classes_are_notes(tmp_path):
    def some(labels):
        result = np.zeros_like(labels)
        result[labels > 0], result[0, 0] = 1, 5
        return result

    sets.write_set(tmp_path, encode=some, val=4)
    for path in sets.mask_paths(tmp_path)[2:]:
        sets.save(path, np.minimum(np.asarray(Image.open(path)), 1))
    report = inspect_dataset(tmp_path)
    assert report.findings == ()
    assert any(note.startswith("val lacks classes that are rare in train: class 5") for note in report.notes)
    assert any(note.startswith("3 of 6 classes never occur: class 2, class 3, class 4") for note in report.notes)
    assert any("less than 1% of the pixels: class 5 0.0" in note for note in report.notes)


def test_only_a_folder_that_cannot_be_read_raises(tmp_path):
    with pytest.raises(AtrousError, match="the folder is empty"):
        inspect_dataset(tmp_path)
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(AtrousError, match="Unpack it"):
        inspect_dataset(tmp_path / "photos.zip")


def test_links_in_a_circle_end(sound):
    (sound / "images/train/again").symlink_to(sound / "images/train")
    (sound / "masks/val/round").symlink_to(sound / "masks/val")
    assert inspect_dataset(sound).findings == ()


def test_an_examination_keeps_what_a_sheet_needs(sound):
    seen = examine(sound)
    look = seen.looks[0]
    assert (look.split, look.size, look.channels, look.dtype) == ("train", (64, 96), 3, "uint8")
    assert look.census.pixels[0] == seen.counts[0, 0]
    assert look.mask_path == sound / "masks/train/t00.png"
    assert seen.below(look.image_path) == "images/train/t00.png"
    assert seen.counts.shape == (18, 6)
    assert report_of(seen).as_json() == inspect_dataset(sound).as_json()


def test_progress_is_told_for_every_pair_and_few_wait(sound):
    told = []
    inspect_dataset(sound, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 18) for done in range(1, 19)]
    begun, ahead = [], []
    in_threads(begun.append, range(500), lambda done, total: ahead.append(len(begun) - done))
    assert max(ahead) <= 9 * workers() + 1


def test_fingerprint_tells_layout_count_and_shares(sound):
    told = json.loads(json.dumps(fingerprint(open_dataset(sound))))
    assert (told["layout"], told["count"]) == ("folders", 18)
    report = inspect_dataset(sound)
    assert [entry["share"] for entry in told["classes"]] == [entry["pixel_share"] for entry in report.classes]
    assert [entry["images"] for entry in told["classes"]] == [18] * 4


def test_regions_are_those_of_each_value():
    mask = np.zeros((40, 60), np.uint8)
    mask[:33, :33] = 1
    mask[35, 50], mask[36, 51] = 1, 1
    areas = regions.region_areas(mask)
    assert sorted(areas[1].tolist()) == [2, 33 * 33]
    told = regions.summed_up([areas[1]])
    assert (told.count, told.small) == (2, 1)
    assert regions.region_areas(np.arange(100).reshape(10, 10)) == {}
    assert regions.summed_up([]).median == 0


def test_turns_need_evidence():
    assert turning.turned_masks([], []) == {}
    assert turning.turned_masks([(), ()], [1, 1]) == {}
    better = (1.0, 2.0, 1.0, 1.0, 0, 0, 0, 0)
    assert turning.turned_masks([better] * 3, [1] * 3) == {}
    assert turning.turned_masks([better] * 6, [1] * 6) == dict.fromkeys(range(6), 2)
    volume = turning.turned_masks([better] * 6, [1] * 6, ["a", "a", "a", "b", "b", "c"])
    assert volume == {}
    steady = (1.05, 1.22, 1.0, 1.0, 0, 0, 0, 0)
    worse = (1.3, 1.22, 1.0, 1.0, 0, 0, 0, 0)
    assert turning.turned_masks([steady] * 12, [1] * 12) == dict.fromkeys(range(12), 2)
    assert turning.turned_masks([steady] * 8, [1] * 8) == {}
    assert turning.turned_masks([*[steady] * 7, *[worse] * 5], [1] * 12) == {}
    slightly = (1.2, 1.35, 1.0, 1.0, 0, 0, 0, 0)
    assert turning.turned_masks([slightly] * 6, [1] * 6) == {}


def test_copies_are_found_among_thousands():
    random = np.random.default_rng(0)
    thumbnails = [random.integers(0, 255, 576, np.uint8).tobytes() for _ in range(3000)]
    noisy = np.frombuffer(thumbnails[7], np.uint8).astype(int) + random.integers(-3, 4, 576)
    thumbnails.append(np.clip(noisy, 0, 255).astype(np.uint8).tobytes())
    splits = ["train"] * 1500 + ["test"] * 1500 + ["val"]
    assert copies.near_copies(thumbnails, splits) == {3000: (7, False)}
    assert copies.near_copies(thumbnails, ["train"] * 3001) == {}


def test_shared_shading_makes_no_copies():
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[-1:1:24j, -1:1:24j]
    shade = 128 - 60 * (rows**2 + columns**2)
    thumbnails = [copies.thumbnail(shade[..., None] + random.normal(0, 2, (24, 24, 1))) for _ in range(600)]
    assert None not in thumbnails
    assert copies.near_copies(thumbnails, ["train", "val"] * 300) == {}


@pytest.mark.parametrize(("shape", "value"), [((8, 8, 3), None), ((64, 64, 3), 7)])
def test_tiny_and_uniform_images_are_no_copies(shape, value):
    image = np.random.default_rng(1).integers(0, 255, shape, np.uint8) if value is None else np.full(shape, value, "u1")
    assert copies.thumbnail(image) is None
    assert (copies.digest(image) is None) == (value is not None)


def test_every_kind_has_words():
    for kind, remedy in REMEDIES.items():
        assert remedy.endswith("."), kind
        assert len(remedy) > 20, kind


# What is truly there. The animals of VOC are a selection, so that bicycle, bus and motorbike are in val alone; of a few
# sample images hardly two show the same classes. The two slices of Synapse are neighbours of one patient, and nothing
# is labelled on them; the two runs of the microscopy are one image. What NYU calls annotations are depths in
# millimetres.
REAL = [
    ("camvid11", {}, []),
    ("isbi2012", {}, []),
    ("cwfid", {}, []),
    ("voc2012_animals", {}, ["class-missing-in-train"]),
    ("dsb2018", {"labels": "instances"}, []),
    ("dsb2018", {}, []),
    ("ade20k_sample", {}, ["class-missing-in-train"]),
    ("coco_panoptic_sample", {}, ["class-missing-in-train"]),
    ("mmseg_samples/pseudo_cityscapes_dataset", {}, []),
    ("mmseg_samples/pseudo_dataset", {}, []),
    ("mmseg_samples/pseudo_lip_dataset", {}, ["class-missing-in-train"]),
    ("mmseg_samples/pseudo_loveda_dataset", {}, []),
    ("mmseg_samples/pseudo_mapillary_dataset", {}, []),
    ("mmseg_samples/pseudo_nyu_dataset", {}, ["classes-unknown"]),
    ("mmseg_samples/pseudo_potsdam_dataset", {}, []),
    ("mmseg_samples/pseudo_refuge_dataset", {}, []),
    ("mmseg_samples/pseudo_synapse_dataset", {}, ["near-duplicate", "nothing-labelled"]),
    ("mmseg_samples/pseudo_vaihingen_dataset", {}, []),
    ("medical_dcmqi/23x38x3", {}, []),
    ("medical_dcmqi/24x38x3", {}, []),
    ("medical_ivadomed", {}, []),
    ("medical_ivadomed/ct_scan", {}, []),
    ("medical_ivadomed/microscopy_png", {}, ["identical-files"]),
]


@pytest.mark.parametrize(("folder", "options", "kinds"), REAL)
def test_real_data_is_healthy(data_dir, folder, options, kinds):
    report = inspect_dataset(data_dir / folder, **options)
    assert [finding.kind for finding in report.findings] == kinds, report.as_text()


def test_a_class_that_the_folder_lacks_has_no_value(tmp_path):
    sets.SOUND["COCO"].make(tmp_path)
    names = inspect_dataset(tmp_path).classes
    report = inspect_dataset(tmp_path, classes=[*(entry["name"] for entry in names), "unicorn"])
    assert report.classes[-1]["name"] == "unicorn"
    assert (report.classes[-1]["value"], report.classes[-1]["images"]) == (None, 0)
    assert [entry["value"] for entry in report.classes[:-1]] == [entry["value"] for entry in names]
