from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from qlumen.errors import ConfigError
from qlumen.realtime.config.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]


def test_override_beats_file_beats_default(tmp_path: Path) -> None:
    """A value of the command line replaces the file's value, and the file's value the default."""
    file = tmp_path / "c.yaml"
    file.write_text("recorder: {crf: 30, preset: slow}\n")
    settings = load_settings(file, ["recorder.crf=25"])
    assert (settings.recorder.crf, settings.recorder.preset) == (25, "slow")
    assert settings.overlay == Settings().overlay


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("overlay.fill_alhpa=1", "unknown configuration key 'overlay.fill_alhpa'; did you mean "
         "overlay.fill_alpha?"),
        ("nonsense.key=1", "unknown configuration key 'nonsense"),
        ("overlay.fill_alpha=2", "overlay.fill_alpha: Input should be less than or equal to 1"),
        ("overlay.fill_alpha=thick", "overlay.fill_alpha"),
        ("overlay", "does not have the form section.key=value"),
        ("overlay=1", "does not have the form section.key=value"),
        ("recorder.preset=[", "not valid YAML"),
    ],
)  # fmt: skip
def test_bad_override_is_explained(override: str, message: str) -> None:
    """The message is one line that names the key, and what it takes or a similar key."""
    with pytest.raises(ConfigError) as error:
        load_settings(None, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("- a\n", "holds a list"), ("a: [", "not valid YAML"), ("overlay: 3\n", "overlay")],
)
def test_bad_file_is_explained(tmp_path: Path, content: str, message: str) -> None:
    """A file without sections gives a message of one line."""
    file = tmp_path / "c.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        load_settings(file)
    assert "\n" not in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A missing configuration file is an error, not an empty configuration."""
    with pytest.raises(ConfigError, match=r"absent\.yaml: No such file"):
        load_settings(tmp_path / "absent.yaml")


def test_hash_depends_on_values_not_on_their_origin(tmp_path: Path) -> None:
    """A written default has the hash of the default; another value has another hash."""
    file = tmp_path / "c.yaml"
    file.write_text("recorder: {crf: 20}\n")
    assert load_settings(file).sha256() == Settings().sha256()
    assert load_settings(None, ["recorder.crf=21"]).sha256() != Settings().sha256()


def test_shipped_default_file_holds_the_defaults() -> None:
    """`configs/default.yaml` names every key with its default."""
    file = ROOT / "configs" / "default.yaml"
    assert load_settings(file) == Settings()
    written = yaml.safe_load(file.read_text())
    assert written == Settings().model_dump(mode="json")


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda f: f.stem)
def test_shipped_files_are_valid_and_explain_every_line(file: Path) -> None:
    """Each file loads, and each key has a comment beside it or on the next line."""
    load_settings(file)
    lines = file.read_text(encoding="utf-8").splitlines()
    for line, below in pairwise([*lines, ""]):
        if line.startswith("  ") and not line.lstrip().startswith("#"):
            assert " # " in line or below.lstrip().startswith("#"), line
