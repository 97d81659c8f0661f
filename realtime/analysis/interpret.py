"""Turns the network's map of a frame into the findings that are shown."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import TypeVar

import cv2
import numpy as np

from qlumen.realtime.analysis.observe import Lap, ignore_laps
from qlumen.realtime.config.network import TemporalSettings
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.frames import NO_MAP, Finding, Judgement, Observation
from qlumen.realtime.segmentation.geometry import Fit, Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.tracking.findings import place_findings, segment_findings
from qlumen.realtime.tracking.smoothing import Region, Smoother
from qlumen.realtime.tracking.tracks import Tracker, select_alarms

T = TypeVar("T")


class Interpreter:
    """Interprets the maps of frames in their order. It belongs to one thread.

    Args:
        fit: way in which the field lies in the network's input.
        temporal: limits of smoothing and tracks; None where frames are not related.
        numbers: track numbers, to continue after another interpreter; None counts from 1.
    """

    def __init__(
        self,
        postprocess: Postprocessor,
        fit: Fit,
        temporal: TemporalSettings | None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._postprocess, self._fit = postprocess, fit
        self._numbers = count(1) if numbers is None else numbers
        self._temporal = temporal
        if temporal is not None:
            self._smoother = Smoother(temporal.smoothing)
            self._tracker = self._make_tracker(temporal)

    def change(self, postprocess: Postprocessor, temporal: TemporalSettings | None) -> None:
        """Change thresholds and limits. The tracks stay."""
        self._postprocess = postprocess
        if temporal is not None and temporal != self._temporal:
            self._smoother = Smoother(temporal.smoothing)
            earlier, self._tracker = self._tracker, self._make_tracker(temporal)
            self._tracker.take_over(earlier)
        self._temporal = temporal

    def interpret_all(
        self, frames: Iterable[tuple[T, Observation, Probability | None, Lap]]
    ) -> Iterator[tuple[T, Judgement]]:
        """Interpret frames in their order, each as soon as it arrives."""
        for item, seen, probability, lap in frames:
            yield item, self.interpret(seen, probability, lap)

    def interpret(
        self, seen: Observation, probability: Probability | None, lap: Lap = ignore_laps
    ) -> Judgement:
        """Interpret the map of the next frame.

        Args:
            probability: map `(h, w) float32` of the frame's field, from `round_map`; None where
                the frame was not judged.
            lap: function called with the name of each stage when it ends.
        """
        own = probability
        if self._temporal is None:
            map_ = NO_MAP if own is None else own
            shown = segment_findings(self._find(seen, probability), seen.size, map_)
            lap("postprocess")
            return Judgement(seen, own, shown, ())
        if seen.flow is None:
            self._smoother.reset()
            self._tracker.reset()
        if probability is None:
            self._smoother.reset()
        else:
            region = share_of_frame(seen)
            probability = self._smoother(probability, seen.flow, region, seen.elapsed_s)
        lap("smoothing")
        found = self._find(seen, probability)
        lap("postprocess")
        tracks = self._tracker.update(found, seen.time_s, seen.flow, seen.size)
        if probability is None:
            shown = segment_findings((), seen.size)
        else:
            shown = select_alarms(tracks, seen.size, probability)
        lap("tracks")
        return Judgement(seen, own, shown, tracks)

    def _find(self, seen: Observation, probability: Probability | None) -> Sequence[Finding]:
        if probability is None:
            return ()
        return find_on_frame(self._postprocess, self._fit, seen, probability)

    def _make_tracker(self, temporal: TemporalSettings) -> Tracker:
        limits = temporal.model_dump(exclude={"smoothing"})
        return Tracker(numbers=self._numbers, **limits)


def find_on_frame(
    postprocess: Postprocessor, fit: Fit, seen: Observation, probability: Probability
) -> list[Finding]:
    """Find areas in the map of a frame's field, and put them on the frame, largest first."""
    x0, y0, x1, y1 = seen.field.box
    map_size = probability.shape[1], probability.shape[0]
    geometry = Geometry.of((x1 - x0, y1 - y0), map_size, fit)
    return place_findings(postprocess(probability, geometry).findings, seen.field)


def spread_map(probability: Probability, seen: Observation, fit: Fit) -> Probability:
    """Interpolate the map of a field, without its margins, to its frame: `(H, W) float32`.

    It is 0 outside the field.
    """
    (x0, y0, x1, y1), (width, height) = seen.field.box, seen.size
    map_size = probability.shape[1], probability.shape[0]
    left, top, right, bottom = Geometry.of((x1 - x0, y1 - y0), map_size, fit).inner
    inner = np.ascontiguousarray(probability[top:bottom, left:right])
    whole = np.zeros((height, width), np.float32)
    whole[y0:y1, x0:x1] = cv2.resize(inner, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return whole


def share_of_frame(seen: Observation) -> Region:
    """Return the field's box as shares of the frame's width and height."""
    (x0, y0, x1, y1), (width, height) = seen.field.box, seen.size
    return x0 / width, y0 / height, x1 / width, y1 / height
