"""Keeps compiled engines on disk and uses them only if all their dependencies are the same.

    {"key": {...}, "sha256": "..."}     the header, a line of JSON
    ...                                 the engine's bytes

A file that is damaged, or was made for another key, is not used and is written again.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from qlumen.networks.bundle import Bundle, Precision, file_sha256
from qlumen.networks.identity import network_sha256
from qlumen.realtime.engines.presence import installed_version
from qlumen.system.caches import cache_folder

KEPT_ENGINES = 8
"""Number of files that are kept; the ones used last stay."""
HEADER_BYTES = 65536
"""Largest length of the header."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Holds everything that a compiled engine depends on.

    Attributes:
        network_sha256: hash of weights, tables and architecture, and that of 8-bit ranges.
        precision: precision of the arithmetic; `f32` is IEEE.
        shape: shape of the input.
        gpu, driver: name of the GPU and version of its driver.
        libraries: names of libraries with their versions.
    """

    network_sha256: str
    precision: str
    shape: tuple[int, ...]
    gpu: str
    driver: str
    libraries: tuple[tuple[str, str], ...]

    @classmethod
    def of(
        cls, bundle: Bundle, precision: Precision, gpu: str, driver: str, *libraries: str
    ) -> Self:
        """Return the key of a bundle's network, in 8 bits if the bundle has ranges.

        Args:
            libraries: names of packages; those that are installed count.
        """
        spec, ranges = bundle.manifest.input, bundle.ranges
        parts = [network_sha256(bundle), *([file_sha256(ranges)] if ranges else [])]
        found = ((name, installed_version(name)) for name in libraries)
        return cls(
            network_sha256=" ".join(parts),
            precision=f"int8 and {precision}" if ranges else precision,
            shape=(1, spec.height, spec.width, 3),
            gpu=gpu,
            driver=driver,
            libraries=tuple((name, version) for name, version in found if version),
        )

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def file_name(self) -> str:
        return f"{hashlib.sha256(self.text().encode()).hexdigest()[:32]}.engine"


class EngineCache:
    """Keeps engines in the user's cache folder `name`; without one, logs that and keeps nothing."""

    def __init__(self, name: str) -> None:
        self._folder = cache_folder(name)
        if self._folder is None:
            log.warning(
                "no cache folder can be written: the engine is built at each start; set "
                "QLUMEN_CACHE to a folder that can be written"
            )

    def load(self, key: EngineKey) -> bytes | None:
        """Return the engine of `key`; None when no whole one is there."""
        path = self._path(key)
        if path is None or not path.exists():
            return None
        try:
            content = path.read_bytes()
            engine = unpack_engine(content, key)
            os.utime(path)
        except (OSError, ValueError) as error:
            log.warning("%s is not used, the engine is built again: %s", path, error)
            return None
        return engine

    def store(self, key: EngineKey, engine: bytes) -> None:
        """Keep `engine`; if that fails, log it and go on."""
        path = self._path(key)
        if path is None:
            return
        part = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            part.write_bytes(pack_engine(key, engine))
            part.replace(path)
            self._prune()
        except OSError as error:
            log.warning("the engine cannot be kept: %s: %s", path, error.strerror)

    def _path(self, key: EngineKey) -> Path | None:
        return self._folder / key.file_name() if self._folder else None

    def _prune(self) -> None:
        assert self._folder is not None
        files = sorted(self._folder.glob("*.engine"), key=lambda p: p.stat().st_mtime)
        for old in files[:-KEPT_ENGINES]:
            old.unlink(missing_ok=True)


def pack_engine(key: EngineKey, engine: bytes) -> bytes:
    """Return the content of a file with `engine`."""
    header = {"key": json.loads(key.text()), "sha256": hashlib.sha256(engine).hexdigest()}
    return json.dumps(header).encode() + b"\n" + engine


def unpack_engine(content: bytes, key: EngineKey) -> bytes:
    """Return the engine in a file's content; raise ValueError if it is damaged or another one."""
    header, newline, engine = content.partition(b"\n")
    if not newline or len(header) > HEADER_BYTES:
        raise ValueError("it has no header")
    try:
        values = json.loads(header)
        found, digest = values["key"], values["sha256"]
    except (ValueError, TypeError, KeyError):
        raise ValueError("its header cannot be read") from None
    if found != json.loads(key.text()):
        raise ValueError("it was made for something else")
    if digest != hashlib.sha256(engine).hexdigest():
        raise ValueError("it is damaged")
    return engine
