"""Writes best frames as DICOM secondary capture images, and their masks as segmentations.

highdicom builds them after the Secondary Capture Image IOD and the Segmentation IOD (PS3.3 A.8.1
and A.51). All instances belong to one study. They name nobody unless `patient` is given.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from qlumen.errors import MissingExtraError, SinkError, UsageError
from qlumen.realtime.frames import Finding, FrameResult
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.report.facts import RESEARCH
from qlumen.realtime.review.records import StoredFrame
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.tracking.findings import fill_findings
from qlumen.system.files import replacing
from qlumen.system.locations import printable

try:
    import highdicom
    import pydicom
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code
except ModuleNotFoundError as error:
    raise MissingExtraError(
        f"DICOM files need {error.name}: pip install 'qlumen[dicom]'"
    ) from error

MANUFACTURER, MODEL, SERIAL = "qlumen", "qlumen", "none"
IMAGES, MASKS = 1, 2
"""Series numbers."""
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
POLYP = Code("41329004", "SCT", "Polyp")
LABEL_CHARACTERS = 64
"""Limit of DICOM's value representation LO, and of a group of PN."""
NAME_GROUPS, NAME_PARTS = 3, 5
"""Limits of PN: groups between `=`, and parts of a group between `^` (PS3.5, 6.2.1)."""
UTF_8 = "ISO_IR 192"


def check_patient(name: str) -> None:
    """Raise UsageError for a name that a DICOM file would not give back unchanged (PS3.5, 6.2)."""
    groups = name.split("=")
    if "\\" in name:
        problem = "has a backslash, which separates values in DICOM; leave it out"
    elif printable(name) != name:
        problem = "has a line break, a control character or bytes that are not UTF-8; leave it out"
    elif len(groups) > NAME_GROUPS:
        problem = f"has {len(groups) - 1} times =, and DICOM has {NAME_GROUPS} groups at most"
    elif (most := max(map(len, groups))) > LABEL_CHARACTERS:
        problem = f"has {most} letters, and DICOM has {LABEL_CHARACTERS} at most; shorten it"
    elif (most := max(group.count("^") for group in groups)) >= NAME_PARTS:
        problem = f"has {most} times ^, and DICOM has {NAME_PARTS} parts of a name at most"
    elif (read := _read_back(name)) != name:
        problem = f"would be read back as '{read}'; write it so"
    else:
        return
    raise UsageError(f"the patient's name '{printable(name)}' {problem}")


def _read_back(name: str) -> str:
    """Return the name as it is read from a DICOM file that holds it."""
    stored, file = pydicom.Dataset(), BytesIO()
    stored.SpecificCharacterSet, stored.PatientName = UTF_8, name
    pydicom.dcmwrite(file, stored, implicit_vr=False, little_endian=True)
    file.seek(0)
    return str(pydicom.dcmread(file, force=True).PatientName)


class DicomFolder(Sink):
    """Writes the best frames of lesions from the results of a whole recording.

    Each has two files, such as `frame_000155_image.dcm` and `frame_000155_masks.dcm`.

    Args:
        folder: folder in an existing parent folder; created if needed.
        review: review that has the frames and describes the model.
        best: number and finding of the lesions to store, by the place of their best frame.
        patient: name of the patient; empty for no name.

    Raises:
        UsageError: see `check_patient`.
        SinkError: the folder cannot be created or written to.
    """

    def __init__(
        self,
        folder: Path,
        review: Review,
        best: Mapping[int, Sequence[tuple[int, Finding]]],
        patient: str = "",
    ) -> None:
        check_patient(patient)
        self._folder, self._patient = folder, patient
        self._manifest, self._frames = review.manifest, review.frames
        self._best, self._place = best, -1
        self._study, self._images, self._masks = (highdicom.UID() for _ in range(3))
        self._stored = 0
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise SinkError(f"{folder} cannot be created: {error.strerror}") from None

    def write(self, result: FrameResult) -> None:
        self._place += 1
        if lesions := self._best.get(self._place):
            record = self._frames[self._place]
            self._stored += 1
            image = self._image(record, result.frame.image)
            masks = self._segmentation(image, record.size, lesions)
            for dataset, kind in ((image, "image"), (masks, "masks")):
                # Not before: highdicom warns of names without `^`, which a patient may have.
                dataset.SpecificCharacterSet = UTF_8
                dataset.PatientName = self._patient or None
                with replacing(self._folder / f"frame_{record.index:06d}_{kind}.dcm") as part:
                    dataset.save_as(part)

    def close(self) -> None:
        pass

    def _image(self, record: StoredFrame, pixels: Image) -> highdicom.sc.SCImage:
        image = highdicom.sc.SCImage(
            pixel_array=cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "F"),
            study_instance_uid=self._study,
            series_instance_uid=self._images,
            series_number=IMAGES,
            sop_instance_uid=highdicom.UID(),
            instance_number=self._stored,
            manufacturer=MANUFACTURER,
        )
        # An endoscope image has no orientation. The standard needs the attribute; it may be empty.
        image.PatientOrientation = None
        aspect = Fraction(self._manifest.source.pixel_aspect)
        if aspect != 1:
            image.PixelAspectRatio = [aspect.denominator, aspect.numerator]  # height, width
        image.ImageComments = (
            f"{self._manifest.source.name}, frame {record.index} at "
            f"{record.time_s:.3f} s. {RESEARCH}"
        )
        return image

    def _segmentation(
        self,
        image: highdicom.sc.SCImage,
        size: tuple[int, int],
        lesions: Sequence[tuple[int, Finding]],
    ) -> highdicom.seg.Segmentation:
        """Build a segmentation with one segment for each lesion."""
        masks = np.stack([fill_findings([finding], size) for _, finding in lesions], axis=-1)
        return highdicom.seg.Segmentation(
            source_images=[image],
            pixel_array=masks[None],
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                self._segment(place, number) for place, (number, _) in enumerate(lesions, start=1)
            ],
            series_instance_uid=self._masks,
            series_number=MASKS,
            sop_instance_uid=highdicom.UID(),
            instance_number=self._stored,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL,
            software_versions=self._manifest.qlumen,
            device_serial_number=SERIAL,
            content_label="FINDINGS",
            content_description=RESEARCH,
            omit_empty_frames=False,
        )

    def _segment(self, place: int, number: int) -> highdicom.seg.SegmentDescription:
        model = self._manifest.model
        return highdicom.seg.SegmentDescription(
            segment_number=place,
            segment_label=f"Lesion {number}",
            segmented_property_category=ABNORMAL,
            segmented_property_type=POLYP,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                name=printable(model.name).replace("\\", "/")[:LABEL_CHARACTERS],
                family=codes.DCM.ArtificialIntelligence,
                version=f"{model.version}, bundle {model.sha256[:12]}"[:LABEL_CHARACTERS],
            ),
            tracking_uid=highdicom.UID(),
            tracking_id=f"Lesion {number}",
        )
