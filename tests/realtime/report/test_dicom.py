from pathlib import Path

import cv2
import numpy as np
import pytest

from qlumen.realtime.report.outputs import ReportOutputs, write_all
from qlumen.realtime.review.findings import Findings, find
from qlumen.realtime.review.review import Review

from support.media import read_video

pydicom = pytest.importorskip("pydicom", reason="pip install 'qlumen[dicom]'")
highdicom = pytest.importorskip("highdicom", reason="pip install 'qlumen[dicom]'")


@pytest.fixture
def dicom_export(review: Review, tmp_path: Path) -> tuple[Path, Findings]:
    found = find(review)
    write_all(review, found, ReportOutputs(dicom=tmp_path / "dicom"))
    return tmp_path / "dicom", found


def test_the_image_is_the_frame(dicom_export: tuple[Path, Findings], review_folder: Path) -> None:
    """pydicom reads the best frame's pixels back, as FFmpeg decodes them."""
    folder, found = dicom_export
    place = found.tracks[0].best.place
    stored = pydicom.dcmread(folder / f"frame_{place:06d}_image.dcm")
    assert stored.SOPClassUID.name == "Secondary Capture Image Storage"
    _, frames = read_video(review_folder.parent / "clip.mp4")
    shown = cv2.cvtColor(frames[place], cv2.COLOR_BGR2RGB)
    assert cv2.absdiff(stored.pixel_array, shown).max() <= 4
    assert not stored.PatientName
    assert not stored.PatientID
    assert "not a medical device" in stored.ImageComments


def test_the_segmentation_is_the_lesions_mask(dicom_export: tuple[Path, Findings]) -> None:
    """highdicom reads the segment back as the mask, and finds the image that it belongs to."""
    folder, found = dicom_export
    best = found.tracks[0].best
    image = pydicom.dcmread(folder / f"frame_{best.place:06d}_image.dcm")
    masks = highdicom.seg.segread(folder / f"frame_{best.place:06d}_masks.dcm")
    (segment,) = (masks.get_segment_description(n) for n in masks.segment_numbers)
    assert segment.segment_label == "Lesion 1"
    assert segment.segmented_property_type.meaning == "Polyp"
    (source,) = masks.get_source_image_uids()
    assert source == (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
    pixels = masks.get_pixels_by_source_instance(
        source_sop_instance_uids=[image.SOPInstanceUID], ignore_spatial_locations=True,
    )[0, ..., 0]  # fmt: skip
    wanted = np.zeros(pixels.shape, np.uint8)
    cv2.drawContours(wanted, [best.finding.contour], -1, 1, cv2.FILLED)
    assert np.array_equal(pixels, wanted)
    assert pixels.sum() == best.finding.area_px


def test_attributes_of_the_standard_are_there(dicom_export: tuple[Path, Findings]) -> None:
    """Files have the type 1 and 2 attributes of their modules and one study (PS3.3 A.8.1, A.51)."""
    folder, _ = dicom_export
    files = sorted(folder.iterdir())
    read = [pydicom.dcmread(file) for file in files]
    assert len({one.StudyInstanceUID for one in read}) == 1
    for one in read:
        for keyword in (
            "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
            "StudyID", "AccessionNumber", "ReferringPhysicianName", "Modality", "SeriesNumber",
            "InstanceNumber", "Manufacturer", "PhotometricInterpretation", "BitsAllocated",
        ):  # fmt: skip
            assert keyword in one, keyword
    assert {one.Modality for one in read} == {"OT", "SEG"}
