"""How frames are judged, in every command."""

from pydantic import Field

from qlumen.realtime.config.base import Section


class AnalysisSettings(Section):
    """`docs/analysis.md` says what each command does with a frame."""

    field: bool = Field(
        True, description="the network sees the endoscope's field, not the borders around it"
    )
    temporal: bool = Field(
        True,
        description="frames of a video are judged together: quality, smoothing, tracks and alarm "
        "hold; false: each frame for itself",
    )
    look_ahead: bool = Field(
        False,
        description="recordings: smoothing and alarm hold know the frames that follow, so a lesion "
        "is shown from its first frame on; live video cannot",
    )
