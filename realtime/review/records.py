"""Defines the files of a review's folder as checked records.

review.json    recording, network, settings and summary of the run; written last
frames.jsonl   a line for each frame
maps.bin, flows.bin, pictures.bin   data that the lines point to
"""

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from qlumen.networks.bundle import Thresholds
from qlumen.realtime.frames import Condition

FORMAT = 2
MANIFEST = "review.json"
FRAMES = "frames.jsonl"
MAPS = "maps.bin"
FLOWS = "flows.bin"
PICTURES = "pictures.bin"

Count = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=1, le=1 << 16)]
Place = tuple[Count, Count]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredFrame(_Record):
    """Describes one frame.

    Attributes:
        pts, time_base: see `Frame`; the time base as in `1/12800`.
        name: name of the image file, where the source is a folder or a single image.
        field_px: number of pixels in the endoscope's visible field.
        field_box: box of the field; without a `field_mask` the field is the whole box.
        judged: whether the network judged the frame; then it has a map.
        map, flow, picture, field_mask: places in the files. `flow` leads from the frame before
            to this one; it is None where nothing is carried over.
        flow_size: columns and rows of the flow.
        elapsed_s: seconds since the frame before; 0 where nothing is carried over.
    """

    index: Count
    pts: int
    time_base: Annotated[str, Field(pattern=r"^[1-9]\d{0,18}/[1-9]\d{0,18}$")]
    width: Side
    height: Side
    name: str = ""
    condition: Condition
    field_px: Count
    field_box: tuple[Count, Count, Count, Count]
    field_mask: Place | None
    judged: bool
    map: Place | None
    flow: Place | None
    flow_size: tuple[Side, Side] | None
    elapsed_s: Annotated[float, Field(ge=0)]
    picture: Place

    @property
    def time_s(self) -> float:
        return float(self.pts * Fraction(self.time_base))

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


class SourceRecord(_Record):
    """Describes the recording.

    Attributes:
        name: name of the file, folder or scene, without its path.
        location: result of `recording.stored_location`.
        bytes, sha256: result of `hash_recording`; None for the scene.
        fps: mean rate, as in `25/1`; None when unknown.
        frames_expected: number of frames that the source announced, or None.
        pixel_aspect: width of a pixel over its height, as in `64/45`.
    """

    name: str
    location: str
    bytes: Count | None
    sha256: str | None
    fps: Annotated[str, Field(pattern=r"^[1-9]\d{0,18}/[1-9]\d{0,18}$")] | None
    frames_expected: Count | None
    sequence: bool
    notes: tuple[str, ...]
    pixel_aspect: Annotated[str, Field(pattern=r"^[1-9]\d{0,18}/[1-9]\d{0,18}$")] = "1/1"


class ModelRecord(_Record):
    """Describes the network, from the bundle's manifest and its card at that time."""

    name: str
    version: str
    sha256: str
    created: str
    circuit: str | None
    card: str


class Manifest(_Record):
    """Describes a whole review.

    Attributes:
        created: time in ISO 8601, UTC.
        map_size: columns and rows of the stored maps.
        settings: all settings of the review but options and addresses of sources;
            `config_sha256` is the hash of all.
        summary: summary of the run, see `ReplaySummary`.
    """

    format: int
    created: str
    qlumen: str
    source: SourceRecord
    model: ModelRecord
    thresholds: Thresholds
    fit: Literal["stretch", "letterbox"]
    map_size: tuple[Side, Side]
    settings: dict[str, Any]
    config_sha256: str
    summary: dict[str, Any]
    cores: int
