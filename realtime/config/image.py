"""Holds the settings that judge frames in every command: field, quality and privacy."""

from pydantic import Field

from qlumen.realtime.config.base import Section, Share


class AnalysisSettings(Section):
    """Chooses how each command judges frames; see `docs/analysis.md`."""

    field: bool = Field(
        True, description="the network sees the endoscope's field, not the borders around it"
    )
    temporal: bool = Field(
        True,
        description="judge frames of a video together: quality, smoothing, tracks, alarm hold; "
        "false: each frame alone",
    )
    look_ahead: bool = Field(
        True,
        description="recordings: smoothing and alarm hold use the frames that follow, so a lesion "
        "is shown from its first frame on; live video cannot",
    )


class FieldSettings(Section):
    """Limits the search for the endoscope's visible field; see `docs/quality.md`."""

    every_s: float = Field(
        1.0, ge=0, le=60, description="time between two searches for the field, s"
    )
    forget_s: float = Field(
        30.0, gt=0, le=3600, description="time that a place stays field after it was last lit, s"
    )
    level: int = Field(
        28, ge=1, le=255, description="level of the brightest channel from which a place is lit"
    )
    least_share: float = Field(
        0.1, gt=0, le=1, description="share of the frame that must be lit for a search to count"
    )


class QualitySettings(Section):
    """Limits which frames are judged; see "Field and quality" in `docs/measurements.md`."""

    hold_frames: int = Field(
        3, ge=1, le=1000, description="frames that a condition must hold before it is reported"
    )
    blurred_below: float = Field(
        0.36, ge=0, le=10, description="ratio of fine to coarse detail; below: out of focus"
    )
    red_out_from: float = Field(
        0.7, ge=0, le=1.01, description="deep red share of the field; from it: red-out"
    )
    white_from: float = Field(
        0.2, ge=0, le=1.01, description="white share of the field; from it: too bright"
    )
    dark_below: float = Field(
        60.0, ge=0, le=255, description="level of the brightest 5%; below: too dark"
    )
    outside_below: float = Field(
        0.1, ge=0, le=1, description="reddish share of the field; below: out of body"
    )
    grey_from: float = Field(
        0.3, ge=0, le=1.01, description="grey share of the field; from it: out of body"
    )


class PrivacySettings(Section):
    """Chooses what is hidden in all that live video writes or sends, but not on the monitor."""

    regions: tuple[tuple[Share, Share, Share, Share], ...] = Field(
        (), description="black regions: x0, y0, x1, y1 as shares of the frame's width and height"
    )
    outside_field: bool = Field(
        False, description="make everything outside the endoscope's visible field black"
    )
    pixelate_outside_body: bool = Field(
        True, description="make frames from out of the body unrecognisable"
    )
