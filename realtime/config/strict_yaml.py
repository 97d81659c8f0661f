"""Reads YAML that people write, and refuses a key that stands twice."""

import re
from pathlib import Path
from typing import Any

import yaml

from qlumen.errors import ConfigError
from qlumen.system.locations import SURROGATE

MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Refuses equal keys, which YAML forbids (1.2.2, 3.2.1.1); PyYAML would keep the last one.

    A key beside `<<` may replace one that `<<` brings.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if key.tag == MERGE or not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                first = lines[name]
                place = f"lines {first} and {line}" if first != line else f"line {line}"
                raise _TwiceError(f"{key.value} stands twice, in {place}; keep one of them")
            lines[name] = line
        return node


class _TwiceError(yaml.YAMLError):
    pass


def read_yaml(file: Path) -> Any:
    """Read a file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or a key stands twice in a section.
    """
    try:
        return _load(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"{file} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{file} is not valid YAML{_explain(error)}") from None


def read_override(key: str, value: str) -> Any:
    """Read the value of `--set key=value`; raise ConfigError if it is not YAML.

    A file name with bytes that are not UTF-8 is taken as it is, because YAML cannot hold it.
    """
    if SURROGATE.search(value):
        return value
    try:
        return _load(value)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"--set {key}: the value is not valid YAML{_explain(error)}") from None


def _load(text: bytes | str) -> Any:
    return yaml.load(text, _Loader)


def _explain(error: Exception) -> str:
    """Return place and problem, without the text itself: it may hold a password."""
    if isinstance(error, yaml.reader.ReaderError):
        return f": {error.reason}"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f": {error}"
    mark = error.problem_mark or error.context_mark
    place = f", line {mark.line + 1}" if mark else ""
    hint = "; indent with spaces" if "\\t" in (error.problem or "") else ""
    problem = re.split("['\"]", error.problem or error.context or "", maxsplit=1)[0].strip()
    return f"{place}: {problem}{hint}"
