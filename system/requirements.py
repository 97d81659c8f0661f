"""The packages that qlumen uses, as the metadata of its installation names them."""

import re
from importlib.metadata import requires

DEVELOPMENT = "dev"
"""The extra with the tools of qlumen's developers, and all other extras once more."""
NAME = re.compile(r"[\w.-]+")
EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")


def list_packages() -> list[str]:
    """Names of the packages without which qlumen does not run."""
    return [name for name, extra in _requirements() if extra is None]


def optional_packages() -> dict[str, str]:
    """Names of the packages that extras bring, each with the first extra that brings it."""
    found: dict[str, str] = {}
    for name, extra in _requirements():
        if extra not in (None, DEVELOPMENT):
            found.setdefault(name, extra)
    return found


def extra_of(module: str) -> str | None:
    """The extra that brings an importable module such as `torch`; None where none does."""
    names = {
        name.lower().removeprefix("nvidia-").replace("-", "_"): extra
        for name, extra in optional_packages().items()
    }
    return names.get(module.partition(".")[0])


def _requirements() -> list[tuple[str, str | None]]:
    found = []
    for text in requires("qlumen") or []:
        name, extra = NAME.match(text), EXTRA.search(text)
        assert name is not None
        found.append((name[0], extra[1] if extra else None))
    return found
