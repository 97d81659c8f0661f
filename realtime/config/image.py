"""How frames are judged: field, quality and privacy, in every command."""

from pydantic import Field

from qlumen.realtime.config.base import Section, Share


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
        True,
        description="recordings: smoothing and alarm hold know the frames that follow, so a lesion "
        "is shown from its first frame on; live video cannot",
    )


class FieldSettings(Section):
    """The endoscope's visible field; `docs/quality.md` says more."""

    every_s: float = Field(
        1.0, ge=0, le=60, description="between two looks for the endoscope's visible field, s"
    )
    forget_s: float = Field(
        30.0, gt=0, le=3600, description="a place stays field so long after it was last lit, s"
    )
    level: int = Field(
        28, ge=1, le=255, description="of the brightest channel, from which a place is lit"
    )
    least_share: float = Field(
        0.1, gt=0, le=1, description="of the frame that must be lit for a look to count"
    )


class QualitySettings(Section):
    """Whether a frame can be judged; `docs/quality.md` says what the defaults rest on."""

    hold_frames: int = Field(
        3, ge=1, le=1000, description="a condition must hold so long before it is reported"
    )
    blurred_below: float = Field(
        0.36, ge=0, le=10, description="fine over coarse detail; below: out of focus"
    )
    red_out_from: float = Field(
        0.7, ge=0, le=1.01, description="deep red share of the field; from it: lens on the wall"
    )
    white_from: float = Field(
        0.2, ge=0, le=1.01, description="white share of the field; from it: overexposed"
    )
    dark_below: float = Field(
        60.0, ge=0, le=255, description="level of the brightest 5%; below: underexposed"
    )
    outside_below: float = Field(
        0.1, ge=0, le=1, description="reddish share of the field; below: out of the body"
    )
    grey_from: float = Field(
        0.3, ge=0, le=1.01, description="grey share of the field; from it: out of the body"
    )


class PrivacySettings(Section):
    """Hidden in everything that is written or sent, not on the monitor."""

    regions: tuple[tuple[Share, Share, Share, Share], ...] = Field(
        (), description="blacked out: x0, y0, x1, y1 as shares of the frame's width and height"
    )
    outside_field: bool = Field(
        False, description="black out all but the endoscope's visible field"
    )
    pixelate_outside_body: bool = Field(
        True, description="make pictures from out of the body unrecognisable"
    )
