"""DICOM images: units, depths, colours, places, and words for what cannot be read."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless

from atrous.contract import AtrousError
from atrous.data import dicom as images
from atrous.data.dicom import DicomSlice, read_frame
from atrous.data.dicom_files import is_dicom, sniffed
from atrous.data.dicom_headers import header_of, place_of
from atrous.data.dicom_series import stacks

RAMP = np.arange(24, dtype=np.int16).reshape(4, 6)


def changed(path, **values):
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def test_units_and_depths(dicom):
    plain = dicom.image("a.dcm", RAMP, uid="1.1")
    array = read_frame(plain)
    assert (array.shape, array.dtype) == ((4, 6, 1), np.int16)
    assert np.array_equal(array[..., 0], RAMP)
    scaled = dicom.image("b.dcm", RAMP.astype(np.uint16), uid="1.2", RescaleSlope=2, RescaleIntercept=-1024)
    array = read_frame(scaled)
    assert array.dtype == np.int16
    assert np.array_equal(array[..., 0], 2 * RAMP - 1024)
    fraction = read_frame(dicom.image("c.dcm", RAMP, uid="1.3", RescaleSlope=0.5, RescaleIntercept=0))
    assert fraction.dtype == np.float32
    assert np.array_equal(fraction[..., 0], RAMP / 2)


@pytest.mark.parametrize(
    ("given", "dtype"), [(np.uint8, np.uint8), (np.uint16, np.int16), (np.int16, np.int16), (np.int8, np.int16)]
)
def test_depth_without_units(dicom, given, dtype):
    array = read_frame(dicom.image("a.dcm", RAMP.astype(given), uid="1.1"))
    assert array.dtype == dtype
    assert np.array_equal(array[..., 0], RAMP)


def test_high_values(dicom):
    high = np.full((4, 6), 60_000, np.uint16)
    assert read_frame(dicom.image("a.dcm", high, uid="1.1")).dtype == np.uint16
    far = read_frame(dicom.image("b.dcm", high, uid="1.2", RescaleSlope=10, RescaleIntercept=0))
    assert (far.dtype, far.max()) == (np.float32, 600_000)


def test_monochrome1_is_turned_round_where_there_are_no_units(dicom):
    low = RAMP.astype(np.uint16)
    turned = read_frame(
        dicom.image("a.dcm", low, uid="1.1", PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    )
    assert np.array_equal(turned[..., 0], 4095 - RAMP)
    signed = read_frame(dicom.image("b.dcm", RAMP, uid="1.2", PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(signed[..., 0], -1 - RAMP)
    units = read_frame(
        dicom.image(
            "c.dcm", low, uid="1.3", PhotometricInterpretation="MONOCHROME1", RescaleSlope=3, RescaleIntercept=0
        )
    )
    assert np.array_equal(units[..., 0], 3 * RAMP)


def test_colours(dicom):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    colours = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
    path = dicom.image("a.dcm", rgb, uid="1.1", PhotometricInterpretation="RGB", **colours)
    assert np.array_equal(read_frame(path), rgb)
    assert header_of(path).channels == 3
    grey = np.full((4, 6, 3), 128, np.uint8)
    grey[..., 0] = 77
    ybr = dicom.image("b.dcm", grey, uid="1.2", PhotometricInterpretation="YBR_FULL", **colours)
    assert np.array_equal(read_frame(ybr), np.full((4, 6, 3), 77))


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(dicom, bits):
    table = np.arange(24).astype(np.uint8 if bits == 8 else np.uint16) * (1 if bits == 8 else 256)
    luts = {}
    for place, colour in enumerate(("Red", "Green", "Blue")):
        luts[f"{colour}PaletteColorLookupTableDescriptor"] = [24, 0, bits]
        luts[f"{colour}PaletteColorLookupTableData"] = np.roll(table, place).tobytes()
    path = dicom.image("a.dcm", RAMP.astype(np.uint8), uid="1.1", PhotometricInterpretation="PALETTE COLOR", **luts)
    array = read_frame(path)
    assert (array.shape, array.dtype) == ((4, 6, 3), np.uint8)
    assert array[0, 5].tolist() == [5, 4, 3]


def test_frames_and_volume_in_order_of_place(dicom):
    frames = np.arange(3 * 24, dtype=np.int16).reshape(3, 4, 6)
    path = dicom.segmentation("a.dcm", [(1, z, None, np.zeros((4, 6))) for z in (4, 0, 2)])
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = frames.tobytes()
    dataset.save_as(path)
    header = images.header(path)
    assert (header.shape, header.spacing, header.as_stored) == ((3, 4, 6), (2.0, 0.5, 0.75), True)
    assert np.array_equal(images.voxels(path), frames[[1, 2, 0]])
    assert np.array_equal(DicomSlice(path, 2).read()[..., 0], frames[2])
    with pytest.raises(ValueError, match="frame 3 came; the file has 3"):
        read_frame(path, 3)


def test_affine_goes_to_ras(dicom):
    path = dicom.image("a.dcm", RAMP, uid="1.1", z=7, ImagePositionPatient=[10, 20, 7])
    affine = np.array(images.header(path).affine)
    assert (affine @ [0, 0, 0, 1]).tolist() == [-10, -20, 7, 1]
    assert (affine @ [0, 1, 2, 1]).tolist() == [-11.5, -20.5, 7, 1]


def test_known_by_the_magic_and_not_by_the_name(dicom, tmp_path):
    path = dicom.image("IMG0001", RAMP, uid="1.1")
    assert is_dicom(path)
    assert sniffed(path) == "1.2.840.10008.5.1.4.1.1.2"
    other = tmp_path / "b.dcm"
    other.write_bytes(b"\x89PNG" + b"\0" * 300)
    assert not is_dicom(other)
    assert sniffed(other) is None
    assert sniffed(tmp_path / "none") is None
    with pytest.raises(AtrousError, match=r"b\.dcm: this is no DICOM file: the letters DICM are not at byte 128"):
        header_of(other)
    with pytest.raises(AtrousError, match="no such file"):
        read_frame(tmp_path / "none.dcm")


@pytest.mark.parametrize("kept", [135, 200, 400, -10])
def test_truncated(dicom, kept):
    path = dicom.image("a.dcm", RAMP, uid="1.1")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(AtrousError, match=r"a\.dcm: this DICOM file (is truncated or broken|has no pixels)") as error:
        read_frame(path)
    assert error.value.kind in ("unreadable-file", "dicom-without-pixels")


def test_without_pixels(dicom):
    path = dicom.image("a.dcm", RAMP, uid="1.1")
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(AtrousError, match=r"a\.dcm: this DICOM file has no pixels; it is CT Image Storage") as error:
        read_frame(path)
    assert error.value.kind == "dicom-without-pixels"
    report = changed(dicom.image("b.dcm", RAMP, uid="1.2"), SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3")
    dataset = pydicom.dcmread(report)
    del dataset.Rows, dataset.Columns, dataset.PixelData
    dataset.save_as(report)
    for reader in (header_of, read_frame):
        with pytest.raises(AtrousError, match="RT Structure Set Storage") as error:
            reader(report)
        assert error.value.kind == "dicom-without-pixels"


def test_compression_that_cannot_be_decoded_is_named(dicom, monkeypatch):
    path = dicom.image("a.dcm", RAMP, uid="1.1")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    decoder = pydicom.pixels.get_decoder(JPEGLSLossless)
    monkeypatch.setattr(type(decoder), "is_available", property(lambda self: False))
    with pytest.raises(
        AtrousError, match=r"a\.dcm: .* JPEG-LS Lossless .*cannot be decoded here\. pip install pylibjpeg"
    ):
        read_frame(path)


def test_other_syntaxes_are_named_and_lossless_ones_read(dicom):
    path = dicom.image("a.dcm", RAMP, uid="1.1")
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    assert np.array_equal(read_frame(path)[..., 0], RAMP)
    video = dicom.image("b.dcm", RAMP, uid="1.2")
    dataset = pydicom.dcmread(video)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.PixelData = pydicom.encaps.encapsulate([b"xx"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(video)
    with pytest.raises(AtrousError, match=r"b\.dcm: the transfer syntax MPEG2 .* is not one of images"):
        read_frame(video)


def test_pictures_without_a_place(dicom):
    gone = dict.fromkeys(("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"))
    header = header_of(dicom.image("a.dcm", RAMP, uid="1.1", **gone))
    assert (header.spacing, header.orientation, header.positions) == (None, None, (None,))
    assert place_of(header, 1.0) is None
    assert images.header(header.path).affine is None


def test_nonsense_in_the_header_is_named(dicom):
    path = dicom.image("a.dcm", RAMP, uid="1.1", RescaleSlope=0, RescaleIntercept=0)
    with pytest.raises(AtrousError, match="a rescale slope of 0"):
        read_frame(path)
    huge = dicom.image("b.dcm", RAMP, uid="1.2", Rows=60_000, Columns=60_000)
    with pytest.raises(AtrousError, match="60000 x 60000") as error:
        read_frame(huge)
    assert error.value.kind == "too-many-pixels"


def test_pydicom_missing(dicom, monkeypatch):
    import sys

    path = dicom.image("a.dcm", RAMP, uid="1.1")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(AtrousError, match=r'a\.dcm: DICOM needs pydicom: pip install "atrous\[medical\]"') as error:
        header_of(path)
    assert error.value.kind is None


def test_series_are_ordered_by_place(dicom):
    paths = dicom.series("a", 5)
    (stack,), problems = stacks([header_of(path) for path in sorted(paths)])
    assert [each.image.path for each in stack.slices] == paths
    assert (stack.between, problems) == (2.0, [])


def test_sagittal_series_are_ordered_along_their_normal(dicom):
    turned = [0, 1, 0, 0, 0, -1]
    paths = [
        dicom.image(f"{x}.dcm", RAMP, uid=f"1.{x}", ImageOrientationPatient=turned, ImagePositionPatient=[-x, 0, 0])
        for x in (1, 5, 3)
    ]
    (stack,), _ = stacks([header_of(path) for path in paths])
    assert [each.image.path.name for each in stack.slices] == ["1.dcm", "3.dcm", "5.dcm"]


def test_series_are_told_apart_and_other_sizes_named(dicom):
    first = dicom.series("a", 3)
    second = dicom.series("b", 2, series="1.2.2")
    odd = dicom.image("a/odd.dcm", np.zeros((6, 4), np.int16), uid="1.9", z=20)
    other = dicom.image("a/other.dcm", np.zeros((6, 5), np.int16), uid="1.10", z=22)
    made, problems = stacks([header_of(path) for path in (*first, *second, odd, other)])
    assert [len(stack.slices) for stack in made] == [3, 2]
    assert [(problem.kind, problem.path) for problem in problems] == [("axes-swapped", odd), ("size-differs", other)]
    assert problems[1].detail.startswith("6 x 5 (height x width), and most of its series' 5 images are 4 x 6")


def test_real_volume_of_many_frames_is_its_series(data_dir):
    root = data_dir / "medical_dcmqi" / "23x38x3"
    (stack,), _ = stacks([header_of(path) for path in sorted((root / "image").iterdir())])
    volume = images.voxels(root / "multiframe" / "mf.dcm")
    assert volume.shape == (3, 38, 23)
    for one, plane in zip(stack.slices, volume, strict=True):
        assert np.array_equal(read_frame(one.image.path)[..., 0], plane)
    assert images.header(root / "multiframe" / "mf.dcm").spacing == (2.5, 0.7, 0.7)


def test_real_ct_is_in_hounsfield_units(data_dir):
    array = read_frame(data_dir / "medical_dcmqi" / "ct-3slice" / "01.dcm")
    assert (array.shape, array.dtype) == ((512, 512, 1), np.int16)
    assert (int(array.min()), int(array.max())) == (-3024, 1381)
