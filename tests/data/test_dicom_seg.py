"""DICOM segmentations: three kinds, frames that are absent, overlaps, names and colours."""

import numpy as np
import pydicom
import pytest

from atrous.contract import AtrousError
from atrous.data import dicom_seg
from atrous.data.dicom_alignment import aligned, misfit, stack_of
from atrous.data.dicom_colours import lab_of, rgb_of
from atrous.data.dicom_headers import header_of
from atrous.data.dicom_layers import SegmentedSlice, layer, voxel_counts
from atrous.data.dicom_segments import read_segmentation
from atrous.data.dicom_series import stacks

ORGAN = np.zeros((4, 6), np.uint8)
ORGAN[0:3, 0:5] = 1
TUMOUR = np.zeros((4, 6), np.uint8)
TUMOUR[1, 1:3] = 1
BOTH = ((1, "tumour"), (2, "organ"))


def test_binary_frames_are_put_where_they_lie(dicom):
    path = dicom.segmentation("a.dcm", [(1, 4, None, TUMOUR), (1, 0, None, ORGAN)])
    volume = dicom_seg.voxels(path)
    assert (volume.shape, volume.dtype) == ((3, 4, 6), np.uint8)
    assert np.array_equal(volume, [ORGAN, np.zeros((4, 6)), TUMOUR])
    header = dicom_seg.header(path)
    assert (header.shape, header.spacing) == ((3, 4, 6), (2.0, 0.5, 0.75))
    assert header.affine[0] == (0.0, 0.0, -0.75, 0.0)


def test_dicom_asks_for_segmentations(dicom, tmp_path):
    path = dicom.segmentation("a.dcm", [(1, 0, None, ORGAN)])
    assert np.array_equal(dicom_seg.voxels(path), [ORGAN])
    from atrous.data import dicom as images

    assert np.array_equal(images.voxels(path), [ORGAN])
    assert images.header(path) == dicom_seg.header(path)


def test_fractional_counts_from_one_half(dicom):
    shares = np.array([[0, 127, 128, 255, 1, 0]] * 4)
    path = dicom.segmentation("a.dcm", [(1, 0, None, shares)], kind="FRACTIONAL")
    assert dicom_seg.voxels(path)[0, 0].tolist() == [0, 0, 1, 1, 0, 0]


def test_fractional_of_another_range(dicom):
    shares = np.array([[0, 4, 5, 9, 1, 0]] * 4)
    path = dicom.segmentation("a.dcm", [(1, 0, None, shares)], kind="FRACTIONAL", MaximumFractionalValue=9)
    assert dicom_seg.voxels(path)[0, 0].tolist() == [0, 0, 1, 1, 0, 0]


def test_labelmap_and_its_padding(dicom):
    values = np.array([[0, 3, 9, 5, 5, 0]] * 4)
    path = dicom.segmentation(
        "a.dcm",
        [(0, 0, None, values)],
        kind="LABELMAP",
        segments=((0, "Background"), (3, "liver"), (9, "spine")),
        PixelPaddingValue=5,
    )
    assert dicom_seg.voxels(path)[0, 0].tolist() == [0, 3, 9, 0, 0, 0]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_where_segments_overlap_the_smaller_is_seen(dicom, order):
    shapes = {1: TUMOUR, 2: ORGAN}
    path = dicom.segmentation("a.dcm", [(number, 0, None, shapes[number]) for number in order], segments=BOTH)
    volume = dicom_seg.voxels(path)[0]
    assert (volume[1, 1], volume[0, 0], volume[3, 5]) == (1, 2, 0)
    assert (int((volume == 1).sum()), int((volume == 2).sum())) == (2, 13)
    assert voxel_counts(path) == {1: 2, 2: 15}


def test_the_same_segment_is_seen_on_every_slice(dicom):
    # On the second slice the organ has fewer pixels than the tumour, in the whole file it has more.
    frames = [(1, 0, None, TUMOUR), (2, 0, None, ORGAN), (1, 2, None, np.roll(TUMOUR, 1)), (2, 2, None, TUMOUR * 0)]
    frames[3][3][1, 2] = 1
    volume = dicom_seg.voxels(dicom.segmentation("a.dcm", frames, segments=BOTH))
    assert volume[1, 1, 2] == 1


def test_names_and_colours(dicom):
    path = dicom.segmentation(
        "a.dcm",
        [(1, 0, None, ORGAN)],
        segments=((1, " liver ", (41661, 41167, 40792)), (2, "간"), (3, ""), (4, "x", (1, 2))),
        SpecificCharacterSet="ISO_IR 192",
    )
    segments = read_segmentation(path).segments
    assert [(segment.number, segment.name) for segment in segments] == [
        (1, "liver"),
        (2, "간"),
        (3, "Tissue"),
        (4, "x"),
    ]
    assert [segment.colour for segment in segments] == [(221, 130, 101), None, None, None]


def test_colours_come_back():
    random = np.random.default_rng(0)
    for colour in [(0, 0, 0), (255, 255, 255), *map(tuple, random.integers(0, 256, (100, 3)).tolist())]:
        assert rgb_of(lab_of(colour)) == colour


def test_colours_are_those_of_highdicom():
    highdicom = pytest.importorskip("highdicom")
    for colour in [(221, 130, 101), (12, 200, 255), (3, 2, 1)]:
        assert np.abs(np.subtract(highdicom.color.CIELabColor.from_rgb(*colour).value, lab_of(colour))).max() <= 8


def test_frames_belong_to_the_images_they_name(dicom):
    paths = dicom.series("ct", 3)
    (stack,), _ = stacks([header_of(path) for path in paths])
    # The place would say the first slice, the name says the third.
    path = dicom.segmentation("a.dcm", [(1, 0, "1.2.1.3", ORGAN), (1, 2, None, TUMOUR), (1, 40, None, TUMOUR)])
    found = aligned(read_segmentation(path), stack)
    assert {number: [frame.index for frame in frames] for number, frames in found.frames.items()} == {2: [0], 1: [1]}
    assert found.lost == 1


def test_a_stack_is_found_by_name_series_or_place(dicom):
    made, _ = stacks(
        [
            header_of(path)
            for path in (
                *dicom.series("a", 3),
                *dicom.series("b", 4, series="1.2.2"),
                *dicom.series("c", series="1.2.4"),
            )
        ]
    )
    frames = [(1, 6, None, ORGAN)]
    by_name = read_segmentation(dicom.segmentation("n.dcm", [(1, 6, "1.2.4.1", ORGAN)], series="1.2.2"))
    by_series = read_segmentation(dicom.segmentation("s.dcm", frames, series="1.2.2"))
    by_place = read_segmentation(dicom.segmentation("p.dcm", frames, series="1.2.999"))
    elsewhere = read_segmentation(dicom.segmentation("e.dcm", frames, series="1.2.999", space="1.2.998"))
    assert stack_of(by_name, made).first.series == "1.2.4"
    assert stack_of(by_series, made).first.series == "1.2.2"
    assert stack_of(by_place, made).first.series == "1.2.2"  # the only one with a slice at 6 mm
    assert stack_of(elsewhere, made) is None


def test_misfits_are_named(dicom):
    (stack,), _ = stacks([header_of(path) for path in dicom.series("a", 3)])

    def kind(path):
        problem = misfit(read_segmentation(path), stack)
        return None if problem is None else problem.kind

    assert kind(dicom.segmentation("a.dcm", [(1, 0, None, ORGAN)])) is None
    assert kind(dicom.segmentation("b.dcm", [(1, 0, None, ORGAN.T)], size=(6, 4))) == "axes-swapped"
    assert kind(dicom.segmentation("c.dcm", [(1, 0, None, np.ones((5, 6)))], size=(5, 6))) == "size-differs"
    path = dicom.segmentation("d.dcm", [(1, 0, None, ORGAN)])
    dataset = pydicom.dcmread(path)
    plane = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
    dataset.save_as(path)
    assert kind(path) == "orientation-differs"


def test_no_segmentation(dicom):
    path = dicom.image("a.dcm", ORGAN, uid="1.1")
    with pytest.raises(
        AtrousError, match=r"a\.dcm: .*it says no segmentation type; BINARY, FRACTIONAL, LABELMAP"
    ) as error:
        read_segmentation(path)
    assert error.value.kind == "broken-annotation"
    strange = dicom.segmentation("b.dcm", [(1, 0, None, ORGAN)], SegmentationType="OTHER")
    with pytest.raises(AtrousError, match="its segmentation type is 'OTHER'"):
        read_segmentation(strange)


def test_frames_of_a_segment_that_is_not_listed(dicom):
    path = dicom.segmentation("a.dcm", [(7, 0, None, ORGAN)], segments=BOTH)
    with pytest.raises(
        AtrousError, match=r"a\.dcm: frames of segment 7 came, and the file lists segments 1, 2"
    ) as error:
        read_segmentation(path)
    assert error.value.kind == "class-unknown"


def test_broken_segmentations_are_named(dicom):
    missing = dicom.segmentation("a.dcm", [(1, 0, None, ORGAN)], NumberOfFrames=2)
    with pytest.raises(AtrousError, match=r"a\.dcm: .*2 frames, and 1 descriptions of frames"):
        read_segmentation(missing)
    nothing = dicom.segmentation("b.dcm", [(1, 0, None, ORGAN)], kind="FRACTIONAL", MaximumFractionalValue=0)
    with pytest.raises(AtrousError, match=r"b\.dcm: .*a highest fractional value of 0"):
        read_segmentation(nothing)
    short = dicom.segmentation("c.dcm", [(1, 0, None, ORGAN)] * 4)
    short.write_bytes(short.read_bytes()[:-8])
    with pytest.raises(AtrousError, match=r"c\.dcm: this DICOM file is truncated or broken"):
        dicom_seg.voxels(short)
    nameless = dicom.segmentation("d.dcm", [(1, 0, None, ORGAN)])
    dataset = pydicom.dcmread(nameless)
    del dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence
    dataset.save_as(nameless)
    with pytest.raises(AtrousError, match="frame 0 does not say which segment it is of"):
        read_segmentation(nameless)


def test_compressed_frames(dicom):
    path = dicom.segmentation("a.dcm", [(1, 0, None, ORGAN * 255)], kind="FRACTIONAL")
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    assert np.array_equal(dicom_seg.voxels(path), [ORGAN])


def test_a_mask_is_a_plain_value(dicom):
    import pickle

    path = dicom.segmentation("a.dcm", [(1, 0, None, TUMOUR)])
    found = read_segmentation(path)
    mask = SegmentedSlice((layer(found, found.frames[0], {1: 4}),), (4, 6), path)
    assert hash(mask) == hash(pickle.loads(pickle.dumps(mask)))
    assert np.array_equal(mask.read(), TUMOUR * 4)


@pytest.mark.parametrize(
    ("seg", "nrrd"),
    [
        ("23x38x3/seg/label.seg", "23x38x3/nrrd/label.nrrd"),
        ("24x38x3/seg/label.seg", "24x38x3/nrrd/label.nrrd"),
        ("liver.dcm", "liver_seg.nrrd"),
        ("sparse-labelmap-noppv.dcm", "sparse_labelmap_noppv_seg.nrrd"),
        ("sparse-labelmap-ppv5.dcm", "sparse_labelmap_ppv5_seg.nrrd"),
    ],
)
def test_real_segmentations_are_the_volumes_beside_them(data_dir, seg, nrrd):
    root = data_dir / "medical_dcmqi"
    stored, _ = pytest.importorskip("nrrd").read(str(root / nrrd))
    expected = stored.transpose(2, 1, 0)  # the file's first axis is the columns
    if "ppv5" in seg:  # 5 is the padding, where no frame is
        expected = np.where(expected == 5, 0, expected)
    assert np.array_equal(dicom_seg.voxels(root / seg), expected)
    assert set(np.unique(expected)) == {0, 1}


def test_real_overlaps(data_dir):
    nrrd = pytest.importorskip("nrrd")
    root = data_dir / "medical_dcmqi"
    path = root / "partial_overlaps.dcm"
    volume = dicom_seg.voxels(path)
    sizes = {1: 9602, 2: 11888, 3: 10743, 4: 6693, 5: 4713}
    assert voxel_counts(path) == sizes
    layers = np.stack(
        [nrrd.read(str(root / f"partial_overlaps-{number}.nrrd"))[0].transpose(2, 1, 0) for number in (1, 2, 3)]
    )
    expected = np.zeros_like(volume)
    for number in sorted(sizes, key=lambda number: -sizes[number]):
        expected[(layers == number).any(axis=0)] = number
    assert np.array_equal(volume, expected)
    assert np.bincount(volume.ravel()).tolist() == [745927, 9602, 8849, 10648, 6693, 4713]
    assert [segment.name for segment in read_segmentation(path).segments][:2] == ["GREEN", "ORANGE"]
    assert read_segmentation(path).segments[0].colour == (128, 174, 128)
    with pytest.raises(AtrousError, match="this is no DICOM file"):
        header_of(root / "liver_seg.nrrd")
