"""Writes best frames as DICOM secondary capture images, and their masks as segmentations.

highdicom builds them after the Secondary Capture Image IOD and the Segmentation IOD (PS3.3 A.8.1
and A.51). All instances belong to one study. They name nobody unless `patient` is given.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from qlumen.errors import MissingExtraError, SinkError
from qlumen.realtime.frames import Finding, FrameResult
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.report.facts import RESEARCH
from qlumen.realtime.review.records import StoredFrame
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.tracking.findings import fill_findings
from qlumen.system.files import replacing

try:
    import highdicom
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
"""Limit of DICOM's value representation LO."""


class DicomFolder(Sink):
    """Writes the best frames of lesions from the results of a whole recording.

    Each has two files, such as `frame_000155_image.dcm` and `frame_000155_masks.dcm`.

    Args:
        folder: folder in an existing parent folder; created if needed.
        review: review that has the frames and describes the model.
        best: number and finding of the lesions to store, by the place of their best frame.
        patient: name of the patient; empty for no name.

    Raises:
        SinkError: the folder cannot be created or written to.
    """

    def __init__(
        self,
        folder: Path,
        review: Review,
        best: Mapping[int, Sequence[tuple[int, Finding]]],
        patient: str = "",
    ) -> None:
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
            patient_name=self._patient or None,
        )
        # An endoscope image has no orientation. The standard needs the attribute; it may be empty.
        image.PatientOrientation = None
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
                name=model.name[:LABEL_CHARACTERS],
                family=codes.DCM.ArtificialIntelligence,
                version=f"{model.version}, bundle {model.sha256[:12]}"[:LABEL_CHARACTERS],
            ),
            tracking_uid=highdicom.UID(),
            tracking_id=f"Lesion {number}",
        )
