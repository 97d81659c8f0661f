import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import ConfigError, EngineError, MissingExtraError
from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines import choose
from qlumen.realtime.engines.choose import best_engine, bundle_folder, open_engine
from qlumen.realtime.engines.presence import (
    NAMES,
    Gpu,
    Presence,
    engines_here,
    nvidia_gpus,
    parse_gpus,
)

from support.engine_contract import bundle

ANSWER = "NVIDIA GeForce RTX 4090, 550.54.15, 24564 MiB\nNVIDIA A100, PCIe, 535.1, 81920 MiB\n"
GPUS = (
    Gpu("NVIDIA GeForce RTX 4090", "550.54.15", 24564),
    Gpu("NVIDIA A100, PCIe", "535.1", 81920),
)


def without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "nvidia_gpus", lambda: ())


def test_auto_says_what_it_chose_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without a card the choice is OpenVINO, and the description has the reason."""
    without_gpus(monkeypatch)
    with open_engine(bundle(), load_settings()) as engine:
        about = engine.describe()
    assert about["name"] == "openvino"
    assert about["reason"] == "no NVIDIA GPU here, and on a CPU it is the fastest"


@pytest.mark.parametrize(
    ("overrides", "present", "name"),
    [
        ((), (), "lite0-vqc4-int8"),
        (("engine.name=openvino",), ("torch",), "lite0-vqc4-int8"),
        (("engine.name=torch",), (), "lite0-vqc4"),
        ((), ("torch",), "lite0-vqc4"),
        (("model.bundle=lite0-vqc4",), (), "lite0-vqc4"),
    ],
)
def test_bundle_fits_the_engine(
    monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], present: tuple[str, ...], name: str
) -> None:
    """OpenVINO runs the INT8 bundle, every other engine the trained one, unless one is named."""
    monkeypatch.setattr(choose, "nvidia_gpus", lambda: GPUS if present else ())
    monkeypatch.setattr(choose, "presence", lambda name: Presence(name, name in present, ""))
    folder = bundle_folder(load_settings(None, overrides))
    assert folder == find_bundle().parent / name
    assert read_bundle(folder).manifest.name == name


def test_a_folder_is_taken_as_it_is_named(tmp_path: Path) -> None:
    """A named folder is returned even if it is missing, so that the error names it."""
    for folder in (tmp_path / "lite0-vqc4", Path("no-such-bundle")):
        assert bundle_folder(load_settings(None, (f"model.bundle={folder}",))) == folder


def test_named_engine_has_no_reason() -> None:
    """An engine that the settings name has no reason in its description."""
    with open_engine(bundle(), load_settings(None, ["engine.name=openvino"])) as engine:
        assert "reason" not in engine.describe()


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (("tensorrt", "torch"), "tensorrt"),
        (("torch",), "torch"),
        ((), "openvino"),
        (("tensorrt-rtx",), "openvino"),
    ],
)
def test_auto_takes_the_best_engine_for_a_card(
    monkeypatch: pytest.MonkeyPatch, present: tuple[str, ...], chosen: str
) -> None:
    """TensorRT comes before torch; without both it is OpenVINO and an install command.

    TensorRT-RTX is not chosen, because it has never run on a card.
    """
    monkeypatch.setattr(choose, "nvidia_gpus", lambda: GPUS)
    monkeypatch.setattr(choose, "presence", lambda name: Presence(name, name in present, ""))
    name, reason = best_engine(bundle(), EngineSettings())
    assert name == chosen
    assert ("pip install" in reason) == (chosen == "openvino")


def test_auto_follows_a_device_that_is_openvino_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of OpenVINO decides, whatever cards there are."""
    monkeypatch.setattr(choose, "nvidia_gpus", lambda: GPUS)
    assert best_engine(bundle(), EngineSettings(device="cpu"))[0] == "openvino"


@pytest.mark.parametrize("live", [True, False])
def test_streams_follow_the_use(monkeypatch: pytest.MonkeyPatch, live: bool) -> None:
    """Live video has one stream and a recording two, unless the settings say otherwise."""
    without_gpus(monkeypatch)
    with open_engine(bundle(), load_settings(), live=live) as engine:
        assert engine.describe()["streams"] == (1 if live else 2)


@pytest.mark.parametrize("name", ["onnxruntime", "torch", "tensorrt", "tensorrt-rtx"])
def test_missing_library_names_the_command(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A named engine is not silently replaced."""
    hidden = {"onnxruntime", "torch", "torch_tensorrt", "tensorrt_rtx_bindings"}
    monkeypatch.setattr(
        choose, "find_spec", lambda package: None if package in hidden else find_spec(package)
    )
    with pytest.raises(MissingExtraError, match=rf"engine\.name={name} needs .*pip install"):
        open_engine(bundle(), load_settings(None, [f"engine.name={name}"]))


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["name=openvino", "device=cuda"], ConfigError, "is not OpenVINO's; use cpu, gpu or npu"),
        (["name=torch", "device=npu"], ConfigError, "engine.device=npu is OpenVINO's"),
        (["name=openvino", "device=npu"], EngineError, "finds no NPU here"),
    ],
)
def test_device_of_another_engine_is_refused(
    overrides: list[str], error: type[Exception], message: str
) -> None:
    """The error says what the engine takes."""
    settings = load_settings(None, [f"engine.{override}" for override in overrides])
    with pytest.raises(error, match=message):
        open_engine(bundle(), settings)


def test_live_circuit_runs_with_openvino_alone() -> None:
    """The other engines have no place to cut the network."""
    overrides = ["engine.name=torch", "quantum.executor=default.qubit"]
    with pytest.raises(
        ConfigError, match=r"only with openvino on cpu, not with engine\.name=torch"
    ):
        open_engine(bundle(), load_settings(None, overrides))


@pytest.mark.parametrize("device", ["CPU", "cuda:x", "gpu:0", "tpu", ""])
def test_unknown_device_is_a_configuration_error(device: str) -> None:
    """An unknown device is an error before anything is opened."""
    with pytest.raises(ConfigError, match=r"engine\.device"):
        load_settings(None, [f"engine.device='{device}'"])


def test_openvino_runs_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder that cannot be written costs time, not the engine."""
    without_gpus(monkeypatch)
    (tmp_path / "file").touch()
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / "file"))
    with open_engine(bundle(), load_settings()) as engine:
        engine.warm_up(1)


def test_default_engine_imports_no_other_library() -> None:
    """Choosing and opening OpenVINO loads neither torch nor ONNX Runtime."""
    code = (
        "import sys; from qlumen.networks.bundle import read_bundle, find_bundle\n"
        "from qlumen.realtime.config.settings import load_settings\n"
        "from qlumen.realtime.engines.choose import open_engine\n"
        "settings = load_settings(None, ['engine.device=cpu'])\n"
        "open_engine(read_bundle(find_bundle()), settings).close()\n"
        "print('LOADED', [m for m in ('torch', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LOADED []" in done.stdout, done.stderr


def test_every_engine_is_listed() -> None:
    """Every engine is listed with a detail, usable or not."""
    found = engines_here()
    assert tuple(presence.name for presence in found) == NAMES
    assert found[0].usable
    assert all(presence.detail for presence in found)


def test_cards_are_read_from_nvidia_s_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names with commas, drivers and memory are read; a program that fails means no card."""
    assert parse_gpus(ANSWER) == GPUS
    if sys.platform == "win32":
        pytest.skip("the stand-in is a shell script")
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_gpus() == ()
    for script, wanted in ((f"printf '{ANSWER}'", GPUS), (f"printf '{ANSWER}'; exit 9", ())):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        assert nvidia_gpus() == wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("NVIDIA GB10, 580.95.05, [N/A]\n", (Gpu("NVIDIA GB10", "580.95.05", None),)),
        ("NVIDIA Thor, 580.00, [Not Supported]", (Gpu("NVIDIA Thor", "580.00", None),)),
        ("No devices were found", ()),
        ("Failed, [N/A], [N/A]", ()),
    ],
)
def test_cards_that_share_the_machine_s_memory_are_cards(
    answer: str, wanted: tuple[Gpu, ...]
) -> None:
    """A name and a driver make a card; NVIDIA's program gives no memory for some."""
    assert parse_gpus(answer) == wanted


@given(st.text())
def test_any_answer_is_read_without_an_error(answer: str) -> None:
    """Lines that name no card are left out."""
    assert all(gpu.memory_mib is None or gpu.memory_mib >= 0 for gpu in parse_gpus(answer))


@given(st.lists(st.text(), min_size=3, max_size=3).map(", ".join))
def test_any_three_parts_are_read_without_an_error(answer: str) -> None:
    """Odd digits and signs are no memory."""
    for gpu in parse_gpus(answer):
        assert gpu.name
        assert gpu.driver
