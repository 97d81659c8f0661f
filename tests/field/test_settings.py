"""Files of settings as people write them: copied together, and saved by any editor."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import ConfigError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.config.strict_yaml import read_yaml
from qlumen.training.settings import read_overrides

CONFIGS = Path(__file__).parents[2] / "configs"


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "c.yaml"
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("privacy:\n  regions: [[0, 0, 0.5, 0.2]]\nrecorder:\n  crf: 18\nprivacy:\n"
         "  pixelate_outside_body: false\n", "privacy stands twice, in lines 1 and 5;"),
        ("view:\n  port: 1\n  host: localhost\n  # again\n  port: 2\n",
         "port stands twice, in lines 2 and 5;"),
        ("source: {options: {a: 1, a: 2}}\n", "a stands twice, in line 1;"),
        ("view:\nview:\n  port: 1\n", "view stands twice, in lines 1 and 2;"),
        ("view: {port: 1}\n'view': {port: 1}\n", "view stands twice, in lines 1 and 2;"),
    ],
)  # fmt: skip
def test_what_stands_twice_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A section or a key that stands twice is refused with both lines.

    Whoever copies two shipped configurations together would lose the first section of a name, and
    with it the region that hides the patient.
    """
    with pytest.raises(ConfigError, match=message) as error:
        load_settings(write(tmp_path, text))
    assert "c.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_two_shipped_files_in_one_are_refused(tmp_path: Path) -> None:
    """Two shipped configurations, one after the other, share sections and are refused."""
    files = [CONFIGS / f"{name}.yaml" for name in ("default", "endoscopy-room")]
    both = "".join(file.read_text("utf-8") for file in files)
    with pytest.raises(ConfigError, match=r"stands twice, in lines \d+ and \d+"):
        load_settings(write(tmp_path, both))


def test_values_of_options_are_read_in_the_same_way() -> None:
    """A value of `--set`, also of a training run, may not hold a key twice."""
    with pytest.raises(ConfigError, match="a stands twice"):
        load_settings(None, ["source.options={a: 1, a: 2}"])
    with pytest.raises(ConfigError, match="a stands twice"):
        read_overrides(["seed={a: 1, a: 2}"])


@pytest.mark.parametrize("merge", ["<<: *one", "<<: [*one, *two]"])
def test_a_merged_key_may_be_replaced(tmp_path: Path, merge: str) -> None:
    """A key beside `<<` replaces one that `<<` brings, as PyYAML reads it."""
    text = f"a: &one {{x: 1, y: 2}}\nb: &two {{x: 3}}\nc: &c\n  {merge}\n  x: 4\nd: {{<<: *c}}\n"
    assert read_yaml(write(tmp_path, text)) == yaml.safe_load(text)


trees = st.recursive(
    st.integers() | st.text() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(tree=trees, flow=st.booleans())
def test_all_else_is_read_as_before(
    tmp_path_factory: pytest.TempPathFactory, tree: object, flow: bool
) -> None:
    """What PyYAML writes is read as PyYAML reads it."""
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    assert read_yaml(write(tmp_path_factory.getbasetemp(), text)) == yaml.safe_load(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_editor_may_write_the_file(tmp_path: Path, encoding: str) -> None:
    """Files of Windows' editors have byte order marks, or UTF-16 (elastic/beats #2354)."""
    file = write(tmp_path, "report:\r\n  institution: Städtisches Klinikum\r\n", encoding)
    assert load_settings(file).report.institution == "Städtisches Klinikum"


def test_another_encoding_is_named(tmp_path: Path) -> None:
    """A file in Latin-1 is refused with a line that says how to save it."""
    with pytest.raises(ConfigError, match=r"c\.yaml is not UTF-8 \(.*\); save it as UTF-8"):
        load_settings(write(tmp_path, "report: {institution: Städtisch}\n", "latin-1"))
