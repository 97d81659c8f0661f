import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qlumen.errors import BundleError, UsageError
from qlumen.evaluation import comparison
from qlumen.evaluation.command import command
from qlumen.evaluation.comparison import Outcome, add_q, compare_outcomes, conditions, outcome
from qlumen.evaluation.degradations import KINDS
from qlumen.evaluation.detection import Hits
from qlumen.evaluation.metrics import Scores
from qlumen.evaluation.negatives import NegativeScores
from qlumen.evaluation.run import ImageScores
from qlumen.networks.bundle import SHIPPED, SHIPPED_INT8

FLAGS = st.sampled_from([None, False, True])
DICE = st.integers(0, 8).map(lambda n: n / 8)


def lesion(dice: float, missed: bool = False) -> Outcome:
    return Outcome("a", dice, missed, None)


def free(found: bool) -> Outcome:
    return Outcome("a", None, None, found)


def test_outcomes_of_scores() -> None:
    """An image with a lesion can be missed, one without can have a false finding, and a list
    without lesions has no Dice."""
    scores = Scores(0.5, 0.4, 1, 1, 0, None)
    assert outcome(ImageScores("a", 2, scores, Hits(2, 1, 1), 0.1)) == lesion(0.5, False)
    assert outcome(ImageScores("a", 2, scores, Hits(1, 0, 2), 0.1)) == lesion(0.5, True)
    assert outcome(ImageScores("a", 1, scores, Hits(0, 0, 1), 0)) == Outcome("a", 0.5, None, True)
    assert outcome(NegativeScores("a", 0, 0, 0.1)) == free(False)


def test_a_worked_case() -> None:
    """Dice of three images change by 0.1, 0.2 and 0.6; one lesion is missed by A alone."""
    a = [lesion(0.5), lesion(0.6), lesion(0.2, True)]
    b = [lesion(0.6), lesion(0.8), lesion(0.8)]
    report = compare_outcomes(a, b)
    assert report["images"] == 3
    assert report["clusters"] is report["false_finding"] is None
    dice = report["dice"]
    assert dice["difference"] == pytest.approx(0.3)
    assert dice["hodges_lehmann"] == pytest.approx(0.275)
    assert dice["p"] == pytest.approx(2 / 2**3)
    assert dice["difference_95"] == pytest.approx([0.1, 0.6])
    assert dice["difference_95_by_cluster"] is None
    missed = report["missed"]
    assert (missed["a"], missed["b"]) == (pytest.approx(1 / 3), 0)
    assert (missed["only_a"], missed["only_b"], missed["p"]) == (1, 0, 1)
    assert [row["b"]["dice"] for row in report["each"]] == [0.6, 0.8, 0.8]


def test_clusters_give_their_means() -> None:
    """The signed-rank test gets one value for each cluster, and the interval draws clusters."""
    a = [lesion(0.5)] * 6
    b = [lesion(0.5 + change) for change in (0.1, 0.1, 0.1, 0.1, -0.05, -0.1)]
    dice = compare_outcomes(a, b, list("aaaabc"))["dice"]
    assert dice["clusters"] == 3
    assert dice["p"] == pytest.approx(stats.wilcoxon([0.1, -0.05, -0.1]).pvalue)
    assert dice["p"] != pytest.approx(compare_outcomes(a, b)["dice"]["p"])
    low, high = dice["difference_95_by_cluster"]
    assert low == pytest.approx(-0.1)
    assert high == pytest.approx(0.1)


def test_q_covers_all_rows_of_a_figure() -> None:
    """Four rows have the q of a worked case; a row without the figure stays without it."""
    ps = [0.005, 0.009, 0.05, 0.1]
    rows = [{"dice": {"p": p}, "missed": {"p": 1.0}, "false_finding": None} for p in ps]
    add_q([*rows, {"dice": None, "missed": None, "false_finding": {"p": 0.04}}])
    assert [row["dice"]["q"] for row in rows] == pytest.approx([0.018, 0.018, 0.2 / 3, 0.1])
    assert {row["missed"]["q"] for row in rows} == {1}


@given(st.lists(st.tuples(DICE, DICE, st.booleans(), st.booleans()), min_size=1, max_size=10))
@settings(max_examples=10)
def test_swapped_networks_swap_signs(rows: list[tuple[float, float, bool, bool]]) -> None:
    """With A and B exchanged all differences change their sign, and every p stays."""
    a = [lesion(one, missed) for one, _, missed, _ in rows]
    b = [lesion(other, missed) for _, other, _, missed in rows]
    there, back = compare_outcomes(a, b), compare_outcomes(b, a)
    for figure in ("dice", "missed"):
        one, other = there[figure], back[figure]
        assert one["difference"] == pytest.approx(-other["difference"])
        assert one["p"] == pytest.approx(other["p"])
        assert one["difference_95"] == pytest.approx([-v for v in other["difference_95"][::-1]])
    assert there["dice"]["hodges_lehmann"] == pytest.approx(-back["dice"]["hodges_lehmann"])


def test_conditions_are_all_kinds_once() -> None:
    """Unchanged images come first, and their pixels stay."""
    image = np.full((9, 9, 3), 77, np.uint8)
    assert conditions(False) == conditions(True)[:1]
    assert len(conditions(True)) == 1 + 3 * len(KINDS)
    assert conditions(False)[0].change(image, "a") is image
    assert (conditions(True)[-1].change(image, "a") != image).all()


@pytest.fixture
def data(scene_data: Path, tmp_path: Path) -> Path:
    """Copy the scene's data, with two hospitals, clusters, and lists without lesions."""
    root = tmp_path / "data"
    shutil.copytree(scene_data, root)
    names = (root / "splits" / "val.txt").read_text().split()
    rows = [f"{name.partition('/')[2]},C{i % 2},g{i // 3}" for i, name in enumerate(names)]
    (root / "scene" / "index.csv").write_text("\n".join(["stem,centre,group", *rows]))
    (root / "grey" / "images").mkdir(parents=True)
    for stem in "abc":
        grey = np.full((48, 64, 3), 90, np.uint8)
        cv2.imwrite(str(root / "grey" / "images" / f"{stem}.jpg"), grey)
    (root / "grey" / "index.csv").write_text("stem,source,group\na,Lab 1,1\nb,Lab 1,1\nc,Lab 2,2\n")
    (root / "splits" / "negatives_score.txt").write_text("grey/a\ngrey/b\ngrey/c\n")
    return root


def evaluate(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_bundle_does_not_differ_from_itself(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bundle twice has differences of 0, and p and q of 1, also on degraded images."""
    monkeypatch.setattr(comparison, "KINDS", {"gamma": KINDS["gamma"]})
    file = tmp_path / "r.json"
    where = ("--data", data, "--robustness", "--json", file)
    output = evaluate(*where, "--set", f"model.bundle={SHIPPED_INT8}", "--compare", SHIPPED_INT8)
    content = json.loads(file.read_text())
    assert content["a"]["bundle"] == content["b"]["bundle"]
    assert len(content["rows"]) == 2 * 4
    for row in content["rows"]:
        for figure in ("dice", "missed", "false_finding"):
            if one := row[figure]:
                assert (one["difference"], one["p"], one["q"]) == (0, 1, 1)
                assert one["difference_95"] == [0, 0]
        if row["set"] == "val":
            assert row["dice"]["difference_95_by_cluster"] == [0, 0]
            assert row["dice"]["images"] == 4
        else:
            assert row["dice"] is row["missed"] is None
            assert row["false_finding"]["images"] == 3
    assert "gamma 3" in output
    assert "val: 4 images, in 2 clusters" in output


def test_figures_are_those_of_single_runs(data: Path, tmp_path: Path) -> None:
    """A and B have the mean Dice of runs of their own; A is that of the settings."""
    file = tmp_path / "r.json"
    where = ("--data", data, "--json", file, "--set")
    output = evaluate(*where, f"model.bundle={SHIPPED_INT8}", "--compare", SHIPPED)
    content = json.loads(file.read_text())
    row = content["rows"][0]
    for side, name in (("a", SHIPPED_INT8), ("b", SHIPPED)):
        assert content[side]["bundle"]["name"] == name
        evaluate(*where, f"model.bundle={name}")
        single = json.loads(file.read_text())["sets"]["val"]
        assert row["dice"][side] == pytest.approx(single["mean"]["dice"], abs=1e-4)
        assert row["missed"][side] == pytest.approx(1 - single["detection"]["frame_sensitivity"])
    dice = [[image[side]["dice"] for image in row["each"]] for side in "ab"]
    assert row["dice"]["difference"] == pytest.approx(np.mean(dice[1]) - np.mean(dice[0]))
    assert output.index(f"A: {SHIPPED_INT8}") < output.index(f"B: {SHIPPED}")
    assert "*" not in output


def test_rows_of_sources_are_those_of_their_images(data: Path, tmp_path: Path) -> None:
    """Each source has the figures of its own images, and clusters give the intervals."""
    file = tmp_path / "r.json"
    output = evaluate("--data", data, "--json", file)
    content = json.loads(file.read_text())
    one = content["sets"]["val"]
    assert list(one["sources"]) == ["scene C0", "scene C1"]
    for source, part in one["sources"].items():
        images = [image for image in one["images"] if image["source"] == source]
        assert part["count"] == len(images) == 2
        assert part["mean"]["dice"] == pytest.approx(np.mean([image["dice"] for image in images]))
        assert source in output
    groups = [image["cluster"] for image in one["images"]]
    assert groups == ["scene/g0", "scene/g0", "scene/g0", "scene/g1"]
    means = np.mean([i["dice"] for i in one["images"][:3]]), one["images"][3]["dice"]
    assert one["interval_95_by_cluster"]["dice"] == pytest.approx(sorted(means))
    assert one["interval_95"]["dice"] != one["interval_95_by_cluster"]["dice"]
    assert "95% by" in output
    free = content["negatives"]
    assert [(name, row["count"]) for name, row in free["sources"].items()] == [
        ("Lab 1", 2), ("Lab 2", 1)
    ]  # fmt: skip
    assert free["clusters"] == 2
    assert free["sources"]["Lab 1"]["with_findings_95_by_cluster"] is None


def test_lists_without_lesions_can_be_chosen(data: Path, tmp_path: Path) -> None:
    """--split with such a list scores its images alone, without masks."""
    file = tmp_path / "r.json"
    output = evaluate("--data", data, "--split", "negatives_score", "--json", file)
    content = json.loads(file.read_text())
    assert content["sets"] == {}
    assert [image["name"] for image in content["negatives"]["images"]] == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
    ]
    assert "Lab 1" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "x", "--masks", "y"], "--compare needs --data"),
        (["--images", "x", "--negatives"], "--compare needs --data"),
        (["--clip", "c", "--boxes", "b"], "--compare needs --data"),
        (["--data", "d", "--worst", "w.png"], "--compare draws nothing"),
        (["--data", "d", "--plots", "p", "--robustness"], "draws nothing"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str) -> None:
    """The error names the missing or surplus option before any file is read."""
    result = CliRunner().invoke(command, [*arguments, "--compare", "bundle"])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_bundles_are_read_before_work_starts(data: Path, tmp_path: Path) -> None:
    """A folder that is no bundle, and a network file for both, raise errors."""
    for extra, wanted in (
        (["--compare", tmp_path], BundleError),
        (["--compare", SHIPPED, "--set", "engine.model=net.onnx"], UsageError),
    ):
        result = CliRunner().invoke(command, ["--data", str(data), *map(str, extra)])
        assert isinstance(result.exception, wanted), result.output
