"""Checks the bundle, the engines for it, and the caches."""

from pathlib import Path

from qlumen.errors import BundleError
from qlumen.kernels.jit import cache_dir
from qlumen.networks.bundle import Bundle, read_bundle
from qlumen.networks.identity import has_torch_weights
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.doctor.machine import Check
from qlumen.realtime.engines.choose import best_engine, bundle_folder
from qlumen.realtime.engines.presence import engines_here
from qlumen.system.caches import cache_folder

CACHES = ("openvino", "onnx", "tensorrt", "tensorrt-onnx", "tensorrt-rtx")


def model_checks(settings: Settings) -> tuple[list[Check], list[Check]]:
    """Check the bundle and the engines; the last engine check names the one that runs."""
    folder = bundle_folder(settings)
    engines = [
        Check(one.name, "ok" if one.usable else "absent", one.detail, one.command)
        for one in engines_here()
    ]
    try:
        bundle = read_bundle(folder)
    except BundleError as error:
        broken = Check(
            "bundle", "failed", str(error), "restore its files, or --set model.bundle=DIR"
        )
        return [broken], engines
    return _bundle(bundle), [*engines, _check_choice(bundle, settings)]


def cache_checks() -> list[Check]:
    """Check whether compiled code can be kept."""
    checks = []
    folders = {name: cache_folder(name) for name in CACHES} | {"kernels": _kernels()}
    for name, folder in folders.items():
        found = str(folder or "cannot be written; qlumen compiles again at each start")
        command = "" if folder else "export QLUMEN_CACHE=FOLDER"
        checks.append(Check(f"cache {name}", "ok" if folder else "absent", found, command))
    return checks


def _bundle(bundle: Bundle) -> list[Check]:
    manifest = bundle.manifest
    size = f"{manifest.input.width}x{manifest.input.height}"
    name = f"{manifest.name} {manifest.version}, {size}, {bundle.sha256[:12]}"
    circuit = manifest.quantum
    quantum = f"{circuit.circuit}, cached exactly" if circuit else "no circuit"
    runs = "every engine" if has_torch_weights(bundle) else "openvino only"
    runs += "; in 8 bits for tensorrt" if bundle.ranges else ""
    return [
        Check("bundle", "ok", f"{name}, all hashes are correct: {bundle.folder}"),
        Check("circuit", "ok", quantum),
        Check("weights", "ok", f"for {runs}"),
    ]


def _check_choice(bundle: Bundle, settings: Settings) -> Check:
    wanted = settings.engine
    if wanted.name != "auto":
        return Check("used", "ok", f"{wanted.name}, as engine.name says")
    name, reason = best_engine(bundle, wanted)
    return Check("used", "ok", f"{name}: {reason}")


def _kernels() -> Path | None:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder
