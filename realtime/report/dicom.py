"""Best frames as DICOM: secondary capture images, and their masks as segmentations.

Written by highdicom after the standard's Secondary Capture Image IOD and Segmentation IOD
(PS3.3 A.8.1 and A.51). All instances are of one study; nobody is named in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from qlumen.errors import MissingExtraError, SinkError
from qlumen.realtime.frames import Finding, FrameResult
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.report.coco import mask_of
from qlumen.realtime.report.facts import RESEARCH
from qlumen.realtime.review.records import Manifest, StoredFrame
from qlumen.realtime.sinks.base import Sink
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
"""Numbers of the two series."""
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
POLYP = Code("41329004", "SCT", "Polyp")
LABEL_CHARACTERS = 64
"""Of DICOM's value representation LO."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A frame to store: its picture as it was grabbed, and its lesions by number."""

    record: StoredFrame
    image: Image
    lesions: Sequence[tuple[int, Finding]]


class DicomFolder(Sink):
    """Stores the best frames of lesions among the results of a whole recording.

    Writes pairs of files, `frame_000155_image.dcm` and `frame_000155_masks.dcm`.

    Args:
        folder: created unless it exists; its parent must.
        manifest: of the review: what made the masks.
        frames, best: of the review, and the lesions to store, by place among the frames.
        patient: name to be written, empty for nobody.

    Raises:
        SinkError: the folder cannot be made or written to.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        frames: Sequence[StoredFrame],
        best: Mapping[int, Sequence[tuple[int, Finding]]],
        patient: str = "",
    ) -> None:
        self._folder, self._manifest, self._patient = folder, manifest, patient
        self._frames, self._best, self._place = frames, best, -1
        self._study, self._images, self._masks = (highdicom.UID() for _ in range(3))
        self._stored = 0
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise SinkError(f"{folder} cannot be made: {error.strerror}") from None

    def write(self, result: FrameResult) -> None:
        self._place += 1
        if lesions := self._best.get(self._place):
            self._store(Shot(self._frames[self._place], result.frame.image, lesions))

    def close(self) -> None:
        pass

    def _store(self, shot: Shot) -> None:
        """A frame and its lesions' masks, a segment each."""
        self._stored += 1
        image = self._image(shot)
        name = f"frame_{shot.record.index:06d}"
        self._save(image, f"{name}_image.dcm")
        self._save(self._segmentation(image, shot), f"{name}_masks.dcm")

    def _image(self, shot: Shot) -> highdicom.sc.SCImage:
        image = highdicom.sc.SCImage(
            pixel_array=cv2.cvtColor(shot.image, cv2.COLOR_BGR2RGB),
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
        # An endoscope's picture has none; the attribute has to be there, and may be empty.
        image.PatientOrientation = None
        image.ImageComments = (
            f"{self._manifest.source.name}, frame {shot.record.index} at "
            f"{shot.record.time_s:.3f} s. {RESEARCH}"
        )
        return image

    def _segmentation(self, image: highdicom.sc.SCImage, shot: Shot) -> highdicom.seg.Segmentation:
        size = shot.record.size
        masks = np.stack([mask_of(finding, size) for _, finding in shot.lesions], axis=-1)
        return highdicom.seg.Segmentation(
            source_images=[image],
            pixel_array=masks[None],
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                self._segment(place, number)
                for place, (number, _) in enumerate(shot.lesions, start=1)
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

    def _save(self, dataset: highdicom.base.SOPClass, name: str) -> None:
        with replacing(self._folder / name) as part:
            dataset.save_as(part)
