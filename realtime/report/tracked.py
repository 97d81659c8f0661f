"""Which finding is which lesion."""

from qlumen.realtime.review.findings import Findings


def track_numbers(findings: Findings) -> dict[int, int]:
    """The number of the track, by `id` of the finding: a track holds the very objects that
    stand in `findings.frames`."""
    return {id(one.finding): track.number for track in findings.tracks for one in track.sightings}
