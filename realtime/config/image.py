"""Holds the settings that judge frames in every command: field, quality and privacy."""

from pydantic import Field

from qlumen.realtime.config.base import Section, Share


class AnalysisSettings(Section):
    """Chooses how each command judges frames; see `docs/analysis.md`."""

    field: bool = True
    temporal: bool = True
    look_ahead: bool = True
    second_look: bool = True
    steps: tuple[str, ...] = ()


class FieldSettings(Section):
    """Limits the search for the endoscope's visible field; see `docs/quality.md`."""

    every_s: float = Field(1.0, ge=0, le=60)
    forget_s: float = Field(30.0, gt=0, le=3600)
    level: int = Field(28, ge=1, le=255)
    least_share: float = Field(0.1, gt=0, le=1)


class QualitySettings(Section):
    """Limits which frames are judged; see "Field and quality" in `docs/measurements.md`."""

    hold_frames: int = Field(3, ge=1, le=1000)
    blurred_below: float = Field(0.36, ge=0, le=10)
    red_out_from: float = Field(0.7, ge=0, le=1.01)
    white_from: float = Field(0.2, ge=0, le=1.01)
    dark_below: float = Field(60.0, ge=0, le=255)
    outside_below: float = Field(0.1, ge=0, le=1)
    grey_from: float = Field(0.3, ge=0, le=1.01)


class PrivacySettings(Section):
    """Chooses what is hidden in all that live video writes or sends, but not on the monitor."""

    regions: tuple[tuple[Share, Share, Share, Share], ...] = ()
    outside_field: bool = False
    pixelate_outside_body: bool = True
