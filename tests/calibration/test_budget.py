"""Tests the rule of the budget on made-up measurements, and the command on this machine."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from qlumen.calibration.budget import (
    DICE_TOLERANCE,
    Budget,
    Row,
    choose,
    try_candidates,
    verdict,
)
from qlumen.calibration.candidates import Candidate, candidates, list_shipped_bundles, read_accuracy
from qlumen.calibration.command import command
from qlumen.calibration.live_run import Live
from qlumen.errors import BundleHashError, EngineError, UsageError
from qlumen.networks.bundle import (
    RESIZED_FROM,
    Bundle,
    QuantisedRecord,
    find_bundle,
    read_bundle,
)
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.latency import LatencySummary

BUDGET = Budget(25, (1920, 1080))


def span(p95: float) -> LatencySummary:
    return LatencySummary(100, p95 / 2, p95, p95, p95, p95, p95)


def row(tiny: Bundle, accuracy: float | None, age: float, rejected: str = "") -> Row:
    live = Live(100, 1.0, span(20), span(age), span(3))
    return Row(Candidate("openvino", tiny, "f32", 0, accuracy), 20.0, live, rejected)


measured = st.tuples(
    st.none() | st.sampled_from([0.87, 0.8795, 0.88, 0.8805]),
    st.sampled_from([30.0, 40.0, 60.0]),
    st.sampled_from(["", "too slow"]),
)


@given(st.lists(measured, max_size=8))
def test_rule_of_the_choice(tiny: Bundle, values: list[tuple[float | None, float, str]]) -> None:
    """The choice keeps the budget. No other row that does is more accurate by more than 0.001, and
    no row of equal accuracy has younger findings."""
    rows = [row(tiny, *value) for value in values]
    got = choose(rows)
    good = [r for r in rows if not r.rejected]
    if got is None:
        assert not good
        return
    assert not got.rejected
    best = max((r.candidate.accuracy or 0 for r in good), default=0)
    assert (got.candidate.accuracy or 0) >= best - DICE_TOLERANCE
    for other in good:
        assert other.live is not None
        assert got.live is not None
        if (other.candidate.accuracy or 0) >= best - DICE_TOLERANCE:
            assert other.live.age is not None
            assert got.live.age is not None
            assert got.live.age.p95 <= other.live.age.p95


@given(st.lists(measured, max_size=8))
def test_skipped_candidates_change_no_choice(
    tiny: Bundle, values: list[tuple[float | None, float, str]]
) -> None:
    """Trying the most accurate first and skipping less accurate ones gives as good a choice as
    trying all."""
    every = {candidate.candidate: candidate for candidate in (row(tiny, *v) for v in values)}
    tried: list[Candidate] = []

    def attempt(candidate: Candidate, left: int) -> Row:
        assert left >= 1
        tried.append(candidate)
        return every[candidate]

    rows = try_candidates(list(every), attempt)
    assert {r.candidate for r in rows} == set(every)
    assert {r.candidate for r in rows if r.rejected.startswith("not tried")} == set(every) - set(
        tried
    )
    got, wanted = choose(rows), choose(list(every.values()))
    assert (got is None) == (wanted is None)
    if got and wanted and got.live and wanted.live:
        assert got.live.age == wanted.live.age


@pytest.mark.parametrize(("gain", "wins"), [(0.005, False), (0.012, True)])
def test_another_size_has_to_be_clearly_better(tiny: Bundle, gain: float, wins: bool) -> None:
    """Another size wins with more than 0.01 Dice on validation, or if the trained size does not
    keep the budget."""
    provenance = tiny.manifest.provenance | {RESIZED_FROM: tiny.sha256}
    manifest = tiny.manifest.model_copy(update={"provenance": provenance})
    other = row(Bundle(tiny.folder, manifest, "0" * 64), 0.88 + gain, 20.0)
    own, late = row(tiny, 0.88, 40.0), row(tiny, 0.88, 40.0, "too slow")
    assert choose([own, other]) is (other if wins else own)
    assert choose([late, other]) is other
    tried = try_candidates([own.candidate, other.candidate], lambda c, left: own)
    assert ("other sizes count 0.01 less" in tried[-1].rejected) is not wins


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        (Live(100, 0.96, span(30), span(100), span(10)), ""),
        (Live(100, 0.94, span(30), span(100), span(10)), "94% of the frames judged, 95% needed"),
        (Live(100, 1.0, span(30), span(121), span(10)), "findings are 121 ms old at p95"),
        (Live(100, 1.0, span(30), span(100), span(34)), "frames wait 34 ms at p95, 33 allowed"),
        (Live(0, 0.0, None, None, None), "no frame came through the network"),
    ],
)
def test_verdict_names_what_is_too_much(live: Live, reason: str) -> None:
    """The verdict names skipped frames, old findings and waiting frames."""
    got = verdict(live, BUDGET)
    assert got.startswith(reason)
    assert bool(got) == bool(reason)


def test_verdict_on_several_sources_says_what_the_machine_carries() -> None:
    """Half of 30 frames/s at each of four sources is as much as every frame of two."""
    four = replace(BUDGET, sources=4)
    got = verdict(Live(100, 0.5, span(30), span(100), span(10)), four)
    assert got.endswith("15.0/s of each of 4 sources, as much as all frames of 2.0")


def test_several_sources_are_measured_together(tiny: Bundle, tmp_path: Path) -> None:
    """Each is played and recorded, the report has their number, and the file says it."""
    output, report = tmp_path / "here.yaml", tmp_path / "report.json"
    options = ("--fps", 2, "--source-size", "192x160", "--record", "--sources", 2)
    result = run(tiny, output, *options, "--json", report)
    assert result.exit_code == 0, result.output
    assert "# 2 sources of 192x160 at 2 frames/s, recorded" in output.read_text()
    assert json.loads(report.read_text())["sources"] == 2
    load_settings(output)


def test_margin_is_a_faster_clip() -> None:
    """25 frames/s with a margin of 20% play at 30."""
    assert BUDGET.rate == Fraction(30)
    assert BUDGET.period_ms == pytest.approx(1000 / 30)


def test_slow_video_may_show_older_findings() -> None:
    """At 25 frames/s the default of 120 ms holds. At 2 frames/s findings of the frame before are at
    least 500 ms old, so twice that is allowed. The setting's bound always holds."""
    ages = [Budget(fps, (100, 100)).max_age_ms for fps in (25, 2, 0.5)]
    assert ages == [120, 1000, 2000]


def test_accuracy_comes_from_the_papers(tiny: Bundle) -> None:
    """In single precision a bundle's own figure counts. In bf16, and after training on validation,
    the report of the INT8 bundle that was made from it counts, and no other."""
    fp32 = read_bundle(find_bundle())
    report = {"before": {"val": {"dice": 0.5}}, "before_bf16": {"val": {"dice": 0.25}}}
    record = QuantisedRecord(
        bundle_sha256=fp32.sha256, pictures=1, pictures_sha256="", left_in_f32=(), nncf="3",
        report=report,
    )  # fmt: skip
    manifest = fp32.manifest.model_copy(update={"quantised": record})
    int8 = Bundle(Path("int8"), manifest, "0" * 64)
    assert "val" not in fp32.manifest.metrics
    assert read_accuracy(fp32, "f32", [fp32]) is None
    assert read_accuracy(fp32, "f32", [fp32, int8]) == 0.5
    known = {"metrics": {"val": {"dice": 0.75}}}
    own = Bundle(fp32.folder, fp32.manifest.model_copy(update=known), fp32.sha256)
    assert read_accuracy(own, "f32", [own, int8]) == 0.75
    assert read_accuracy(fp32, "bf16", [fp32]) is None
    assert read_accuracy(fp32, "bf16", [fp32, int8]) == 0.25
    assert read_accuracy(tiny, "bf16", [tiny, int8]) is None


def test_candidates_are_what_is_here(tiny: Bundle) -> None:
    """Each bundle runs in OpenVINO with all cores, and an INT8 bundle runs in no other engine."""
    found = candidates([tiny])
    assert ("openvino", "f32", 0) in {(c.engine, c.precision, c.threads) for c in found}
    shipped = list_shipped_bundles()
    assert shipped[0].folder == find_bundle()
    for candidate in candidates(shipped):
        if candidate.bundle.precision == "int8":
            assert (candidate.engine, candidate.precision) == ("openvino", "f32")
        assert candidate.input_size == (352, 352)


def run(tiny: Bundle, output: Path, *options: object) -> Result:
    arguments = ["budget", "--bundle", tiny.folder, "--output", output, "--seconds", 4]
    arguments += ["--engine", "openvino"]
    return CliRunner().invoke(
        command, [str(a) for a in (*arguments, *options)], catch_exceptions=False
    )


def test_command_writes_settings_that_live_takes(tiny: Bundle, tmp_path: Path) -> None:
    """An easy budget gives a file that loads and names the bundle, and an explanation. The report
    has every candidate."""
    output, report = tmp_path / "here.yaml", tmp_path / "report.json"
    result = run(tiny, output, "--fps", 2, "--source-size", "192x160", "--json", report)
    figures = json.loads(report.read_text())
    assert result.exit_code == 0, result.output
    chosen = figures["candidates"][figures["chosen"]]
    settings = load_settings(output)
    assert settings.model.bundle == tiny.folder.resolve()
    assert settings.engine.name == chosen["engine"]
    assert settings.engine.threads == chosen["threads"]
    assert settings.live.max_age_ms == 1000
    assert chosen["rejected"] == ""
    assert chosen["live"]["judged"] >= 0.95
    assert yaml.safe_load(output.read_text())["engine"]["requests"] == 1
    assert len(figures["candidates"]) == len(candidates([tiny], {"openvino"}))
    assert "chosen" in result.output
    assert "compared only the input sizes of the given bundles (64x64)" in result.output


def test_budget_that_cannot_be_kept(tiny: Bundle, tmp_path: Path) -> None:
    """No machine keeps a thousand frames/s. The error names the nearest candidate, and the command
    writes the report but no configuration."""
    output, report = tmp_path / "here.yaml", tmp_path / "report.json"
    with pytest.raises(EngineError, match=r"no candidate keeps 1000 frames/s.*the nearest was"):
        run(tiny, output, "--fps", 1000, "--source-size", "192x160", "--json", report)
    assert not output.exists()
    assert json.loads(report.read_text())["chosen"] is None


def test_existing_configuration_stays(tiny: Bundle, tmp_path: Path) -> None:
    """An existing file raises an error before any measurement, and it stays."""
    output = tmp_path / "mine.yaml"
    output.write_text("engine: {threads: 2}\n")
    with pytest.raises(UsageError, match="exists; choose another name"):
        run(tiny, output)
    assert output.read_text() == "engine: {threads: 2}\n"


@pytest.mark.parametrize("size", ["1080p", "0x100", "100x", "-1x5", "1920x1080x3"])
def test_wrong_size_is_a_usage_error(tiny: Bundle, tmp_path: Path, size: str) -> None:
    """The error for a wrong size shows a right one."""
    result = run(tiny, tmp_path / "x.yaml", "--source-size", size)
    assert result.exit_code == 2
    assert "such as 1920x1080" in result.output


def test_damaged_bundle_is_refused(tiny: Bundle, tmp_path: Path) -> None:
    """One changed file stops the command before any measurement."""
    folder = Path(shutil.copytree(tiny.folder, tmp_path / "bundle"))
    (folder / "network.xml").write_text("<net/>")
    with pytest.raises(BundleHashError, match=r"network\.xml does not match"):
        run(Bundle(folder, tiny.manifest, tiny.sha256), tmp_path / "x.yaml")
