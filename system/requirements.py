"""Lists the packages that qlumen uses, from the metadata of its installation."""

import re
from importlib.metadata import requires

DEVELOPMENT = "dev"
"""The extra with the tools of developers; it repeats all other extras."""
NAME = re.compile(r"[\w.-]+")
EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")


def list_packages() -> list[str]:
    """List the packages that qlumen needs."""
    return [name for name, extra in _requirements() if extra is None]


def optional_packages() -> dict[str, str]:
    """Return the packages of the extras, each with the first extra that has it."""
    found: dict[str, str] = {}
    for name, extra in _requirements():
        if extra not in (None, DEVELOPMENT):
            found.setdefault(name, extra)
    return found


def extra_of(module: str) -> str | None:
    """Return the extra that has an importable module such as `torch`, or None."""
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
