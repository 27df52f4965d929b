"""Files of formats that have no writer of one line: DICOM images and segmentations, made as the tests want them."""

from pathlib import Path

import numpy as np
import pytest


class Dicom:
    """A maker of DICOM files below a folder; what is not said is as in a small CT with slices 2 mm apart."""

    def __init__(self, root):
        self.root = Path(root)

    def _save(self, name, dataset, array):
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian

        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        if array is not None:
            dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    def _common(self, uid, series, space, patient):
        from pydicom.dataset import Dataset

        dataset = Dataset()
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = uid, series, "1.2.9"
        dataset.FrameOfReferenceUID, dataset.PatientID = space, patient
        return dataset

    def image(self, name, array, *, uid, series="1.2.1", z=0.0, space="1.2.3", patient="p", number=1, **more):
        """Write one image of (rows, columns) int16, uint16 or uint8; `more` are attributes, None takes one away."""
        array = np.asarray(array)
        dataset = self._common(uid, series, space, patient)
        dataset.SOPClassUID, dataset.Modality, dataset.InstanceNumber = "1.2.840.10008.5.1.4.1.1.2", "CT", number
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, z], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.75], 2
        dataset.Rows, dataset.Columns = array.shape[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = array.itemsize * 8
        dataset.HighBit, dataset.PixelRepresentation = array.itemsize * 8 - 1, int(array.dtype.kind == "i")
        for keyword, value in more.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        return self._save(name, dataset, array)

    def series(self, folder, count=3, *, size=(4, 6), series="1.2.1", start=1, **more):
        """Write a series whose file names run against its places; pixels hold the place, UIDs are series.place."""
        return [
            self.image(
                f"{folder}/IMG{count - 1 - place:04d}.dcm",
                np.full(size, place, np.int16),
                uid=f"{series}.{start + place}",
                series=series,
                z=2.0 * place,
                number=count - place,
                **more,
            )
            for place in range(count)
        ]

    def segmentation(
        self,
        name,
        frames,
        *,
        segments=((1, "liver"),),
        kind="BINARY",
        size=(4, 6),
        uid="1.2.77",
        series="1.2.1",
        space="1.2.3",
        patient="p",
        **more,
    ):
        """Write a segmentation; a frame is (segment, z, UID of the image or None, (rows, columns) values)."""
        from pydicom.dataset import Dataset
        from pydicom.sequence import Sequence

        dataset = self._common(uid, "1.2.78", space, patient)
        labelmap = kind == "LABELMAP"
        dataset.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.66.{7 if labelmap else 4}"
        dataset.Modality, dataset.SegmentationType, dataset.NumberOfFrames = "SEG", kind, len(frames)
        dataset.Rows, dataset.Columns = size
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
        dataset.BitsAllocated = dataset.BitsStored = 1 if kind == "BINARY" else 8
        dataset.HighBit = dataset.BitsStored - 1
        if kind == "FRACTIONAL":
            dataset.MaximumFractionalValue, dataset.SegmentationFractionalType = 255, "PROBABILITY"
        dataset.SegmentSequence = Sequence([_segment(*segment) for segment in segments])
        reference = Dataset()
        reference.SeriesInstanceUID = series
        dataset.ReferencedSeriesSequence = Sequence([reference])
        shared = Dataset()
        shared.PlaneOrientationSequence = Sequence([_made(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
        shared.PixelMeasuresSequence = Sequence([_made(PixelSpacing=[0.5, 0.75], SpacingBetweenSlices=2)])
        dataset.SharedFunctionalGroupsSequence = Sequence([shared])
        groups = [_frame(None if labelmap else number, z, image) for number, z, image, _ in frames]
        dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
        for keyword, value in more.items():
            setattr(dataset, keyword, value)
        array = np.stack([np.asarray(values, np.uint8) for *_, values in frames])
        return self._save(name, dataset, np.packbits(array.ravel(), bitorder="little") if kind == "BINARY" else array)


def _made(**values):
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _segment(number, label, lab=None):
    from pydicom.sequence import Sequence

    item = _made(SegmentNumber=number, SegmentLabel=label)
    item.SegmentedPropertyTypeCodeSequence = Sequence([_made(CodeMeaning="Tissue")])
    if lab is not None:
        item.RecommendedDisplayCIELabValue = list(lab)
    return item


def _frame(number, z, image):
    from pydicom.sequence import Sequence

    group = _made(PlanePositionSequence=Sequence([_made(ImagePositionPatient=[0, 0, z])]))
    if number is not None:
        group.SegmentIdentificationSequence = Sequence([_made(ReferencedSegmentNumber=number)])
    if image is not None:
        source = _made(ReferencedSOPInstanceUID=image, ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2")
        group.DerivationImageSequence = Sequence([_made(SourceImageSequence=Sequence([source]))])
    return group


@pytest.fixture
def dicom(tmp_path):
    """Return a maker of DICOM files in a folder."""
    pytest.importorskip("pydicom")
    return Dicom(tmp_path)
