"""Feeds damaged and hostile files to `qlumen import`: each ends in one clear line.

Files of nnU-Net and MONAI are in test_libraries.py.
"""

import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from qlumen.calibration.import_command import import_model
from qlumen.calibration.import_job import import_network
from qlumen.errors import QlumenError, WorkerError
from qlumen.networks.foreign import files
from qlumen.networks.foreign.description import Facts

from support.foreign import ANSWERS, HEIGHT, WIDTH, make_small, write_onnx

LONGEST_LINE = 700
FLOAT = TensorProto.FLOAT
ALL = ANSWERS.updated(Facts(size=(WIDTH, HEIGHT)))
Writer = Callable[[Path, Path], Path]


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@cache
def whole_onnx() -> bytes:
    with TemporaryDirectory() as folder:
        path = write_onnx(make_small(), Path(folder) / "model.onnx", 1, 3, HEIGHT, WIDTH)
        return path.read_bytes()


def change_onnx(change: Callable[[onnx.ModelProto], object]) -> Writer:
    def write(folder: Path, mark: Path) -> Path:
        model = onnx.load_from_string(whole_onnx())
        change(model)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        return folder / "model.onnx"

    return write


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def external_in_a_branch(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "deep")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    branch = helper.make_graph(
        [constant], "branch", [], [helper.make_tensor_value_info("c", FLOAT, [3])]
    )
    truth = helper.make_tensor("t", TensorProto.BOOL, [1], [True])
    model.graph.initializer.append(truth)
    model.graph.node.append(
        helper.make_node("If", ["t"], ["r"], then_branch=branch, else_branch=branch)
    )


def own_operator(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("evil", 1))
    model.graph.node.append(helper.make_node("Run", ["x"], ["r"], domain="evil"))


def python_operator(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx.contrib", 1))
    model.graph.node.append(helper.make_node("PyOp", ["x"], ["r"], domain="ai.onnx.contrib"))


def own_function(model: onnx.ModelProto) -> None:
    function = helper.make_function(
        "mine", "F", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    model.functions.append(function)


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", FLOAT, [1]))


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(
        helper.make_tensor_value_info(model.graph.node[0].output[0], FLOAT, [1, 8, 24, 32])
    )


def shape(*sides: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        dims = model.graph.input[0].type.tensor_type.shape.dim
        del dims[:]
        for side in sides:
            dims.add(dim_value=side)

    return change


def strings(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def bad_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


def cut(share: float) -> Writer:
    def write(folder: Path, mark: Path) -> Path:
        content = whole_onnx()
        (folder / "model.onnx").write_bytes(content[: int(len(content) * share)])
        return folder / "model.onnx"

    return write


def noise(suffix: str, size: int) -> Writer:
    def write(folder: Path, mark: Path) -> Path:
        path = folder / f"model{suffix}"
        path.write_bytes(random.Random(size).randbytes(size))
        return path

    return write


def pickled(suffix: str) -> Writer:
    def write(folder: Path, mark: Path) -> Path:
        path = folder / f"model{suffix}"
        path.write_bytes(pickle.dumps(Touch(mark)))
        return path

    return write


def saved(content: Callable[[Path], Any], suffix: str = ".pth") -> Writer:
    def write(folder: Path, mark: Path) -> Path:
        path = folder / f"model{suffix}"
        torch.save(content(mark), path)
        return path

    return write


def scripted(folder: Path, mark: Path) -> Path:
    torch.jit.trace(make_small(), torch.zeros(1, 3, HEIGHT, WIDTH)).save(folder / "model.pt")
    return folder / "model.pt"


@cache
def whole_program() -> bytes:
    example = (torch.zeros(1, 3, HEIGHT, WIDTH),)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "whole.pt2"
        torch.export.save(torch.export.export(make_small(), example, strict=False), path)
        return path.read_bytes()


def change_program(name: str, change: Callable[[bytes, Path], bytes | None]) -> Writer:
    """Return a writer of a program whose file `name` is changed, or added if it is not there."""

    def write(folder: Path, mark: Path) -> Path:
        path = folder / "model.pt2"
        with (
            zipfile.ZipFile(io.BytesIO(whole_program())) as whole,
            zipfile.ZipFile(path, "w") as other,
        ):
            for info in whole.infolist():
                content: bytes | None = whole.read(info)
                if info.filename == f"whole/{name}":
                    content = change(content or b"", mark)
                if content is not None:
                    other.writestr(info.filename.replace("whole/", "model/", 1), content)
            if f"whole/{name}" not in whole.namelist():
                other.writestr(f"model/{name}", change(b"", mark) or b"")
        return path

    return write


def replace(old: str, new: str) -> Callable[[bytes, Path], bytes]:
    def change(content: bytes, mark: Path) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return change


def hostile_pickle(content: bytes, mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": Touch(mark)}, buffer)
    return buffer.getvalue()


def with_pickle(content: bytes, mark: Path) -> bytes:
    config = json.loads(content)
    first = next(iter(config["config"].values()))
    first["use_pickle"] = True
    return json.dumps(config).encode()


def symbol(content: bytes, mark: Path) -> bytes:
    expression = f"__import__('pathlib').Path('{mark}').touch()"
    return replace('{"as_int": 3}', json.dumps({"as_expr": {"expr_str": expression}}))(
        content, mark
    )


def dynamic(folder: Path, mark: Path) -> Path:
    batch = torch.export.Dim("batch", min=1, max=8)
    made = torch.export.export(
        make_small(),
        (torch.zeros(2, 3, HEIGHT, WIDTH),),
        dynamic_shapes=({0: batch},),
        strict=False,
    )
    torch.export.save(made, folder / "model.pt2")
    return folder / "model.pt2"


def two_outputs(folder: Path, mark: Path) -> Path:
    class Two(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + 1, x - 1

    made = torch.export.export(Two(), (torch.zeros(1, 3, HEIGHT, WIDTH),), strict=False)
    torch.export.save(made, folder / "model.pt2")
    return folder / "model.pt2"


def pretrained(config: str, weights: bytes = b"") -> Writer:
    def write(folder: Path, mark: Path) -> Path:
        (folder / "config.json").write_text(config)
        (folder / "model.safetensors").write_bytes(weights)
        return folder

    return write


def safetensors(folder: Path, mark: Path) -> Path:
    save_file({"encoder.a": torch.full((3,), torch.nan)}, folder / "model.safetensors")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-4])
    return folder / "model.safetensors"


def empty_folder(folder: Path, mark: Path) -> Path:
    (folder / "nothing").mkdir()
    return folder / "nothing"


def folder_named_onnx(folder: Path, mark: Path) -> Path:
    (folder / "model.onnx").mkdir()
    return folder / "model.onnx"


MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
HOSTILE: dict[str, Writer] = {
    "ONNX: weights in another file": change_onnx(external),
    "ONNX: weights of a branch in another file": change_onnx(external_in_a_branch),
    "ONNX: operator of another domain": change_onnx(own_operator),
    "ONNX: operator that runs Python": change_onnx(python_operator),
    "ONNX: function of its own": change_onnx(own_function),
    "ONNX: cycle": change_onnx(cycle),
    "ONNX: two inputs": change_onnx(second_input),
    "ONNX: two outputs": change_onnx(second_output),
    "ONNX: no output": change_onnx(lambda m: m.graph.ClearField("output")),
    "ONNX: no node": change_onnx(lambda m: m.graph.ClearField("node")),
    "ONNX: no graph": change_onnx(lambda m: m.ClearField("graph")),
    "ONNX: no operator set": change_onnx(lambda m: m.ClearField("opset_import")),
    "ONNX: operator set of the future": change_onnx(
        lambda m: setattr(m.opset_import[0], "version", 9999)
    ),
    "ONNX: unknown operator": change_onnx(lambda m: setattr(m.graph.node[0], "op_type", "Nothing")),
    "ONNX: missing weight": change_onnx(lambda m: m.graph.initializer.pop()),
    "ONNX: weight of a terabyte": change_onnx(bad_weight),
    "ONNX: batch of four": change_onnx(shape(4, 3, HEIGHT, WIDTH)),
    "ONNX: five channels": change_onnx(shape(1, 5, HEIGHT, WIDTH)),
    "ONNX: volume": change_onnx(shape(1, 3, 8, HEIGHT, WIDTH)),
    "ONNX: vector": change_onnx(shape(3)),
    "ONNX: image of a million pixels a side": change_onnx(shape(1, 3, 10**6, 10**6)),
    "ONNX: text as input": change_onnx(strings),
    "ONNX: three quarters of a file": cut(0.75),
    "ONNX: a byte is missing": cut(0.999),
    "ONNX: empty": cut(0),
    "ONNX: noise": noise(".onnx", 5000),
    "ONNX: pickle": pickled(".onnx"),
    "ONNX: folder": folder_named_onnx,
    "program: noise": noise(".pt2", 5000),
    "program: pickle": pickled(".pt2"),
    "program: pickled weights": change_program(
        "data/weights/model_weights_config.json", with_pickle
    ),
    "program: pickle as old weights": change_program("data/weights/model.pt", hostile_pickle),
    "program: pickle as example": change_program("data/sample_inputs/model.pt", hostile_pickle),
    "program: object of a class": change_program("data/constants/custom_obj_0", hostile_pickle),
    "program: opaque object": change_program("data/constants/opaque_obj_0", hostile_pickle),
    "program: library": change_program("data/aotinductor/model/a.so", lambda c, m: b"\x7fELF"),
    "program: calls the system": change_program(
        MODEL, replace("torch.ops.aten.relu.default", "torch.os.system")
    ),
    "program: calls another package": change_program(
        MODEL, replace("torch.ops.aten.relu.default", "torch.ops.evil.run.default")
    ),
    "program: expression as size": change_program(MODEL, symbol),
    "program: no graph": change_program(MODEL, lambda c, m: None),
    "program: half a graph": change_program(MODEL, lambda c, m: c[: len(c) // 2]),
    "program: no weights": change_program("data/weights/weight_0", lambda c, m: None),
    "program: sizes that change": dynamic,
    "program: two outputs": two_outputs,
    "checkpoint: noise": noise(".pth", 5000),
    "checkpoint: pickle": pickled(".pth"),
    "checkpoint: pickle among weights": saved(lambda m: {"a": torch.zeros(1), "b": Touch(m)}),
    "checkpoint: whole network": saved(lambda m: make_small()),
    "checkpoint: TorchScript": scripted,
    "checkpoint: list": saved(lambda m: [torch.zeros(2)]),
    "checkpoint: no tensors": saved(lambda m: {"epoch": 3}, ".ckpt"),
    "checkpoint: half of safetensors": safetensors,
    "folder: config is no JSON": pretrained("{"),
    "folder: config is a list": pretrained("[1]"),
    "folder: no weights": pretrained('{"_model_class": "Unet"}'),
    "folder: nothing in it": empty_folder,
    "text": noise(".txt", 10),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_one_line(name: str, tmp_path: Path) -> None:
    """A damaged or hostile file is refused in one line, and what it names is not run."""
    folder, mark = tmp_path / "model", tmp_path / "mark"
    folder.mkdir()
    path = HOSTILE[name](folder, mark)
    with pytest.raises(QlumenError) as caught:
        import_network(path, tmp_path / "bundle", ALL, "mine")
    text = str(caught.value)
    assert len(text) <= LONGEST_LINE
    assert "\n" not in text
    assert not mark.exists()
    assert not (tmp_path / "bundle").exists()


def test_there_are_fifty() -> None:
    """With those of the other module there are more than fifty hostile files."""
    assert len(HOSTILE) >= 50


def test_the_worker_holds_a_limit(tmp_path: Path) -> None:
    """A network that fills the memory is ended by the limit of its process, in one line.

    What lies at the output stays.
    """
    start = helper.make_tensor("n", TensorProto.INT64, [4], [1, 64, 16384, 16384])
    nodes = [
        helper.make_node("ConstantOfShape", ["n"], ["huge"]),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1]),
        helper.make_node("ReduceMean", ["huge"], ["k"], axes=[1, 2, 3]),
        helper.make_node("Add", ["m", "k"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 1, HEIGHT, WIDTH])], [start],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    earlier = tmp_path / "bundle" / "earlier"
    earlier.parent.mkdir()
    earlier.touch()
    with pytest.raises(WorkerError) as caught:
        import_model(path, tmp_path / "bundle", ANSWERS.model_dump(exclude_none=True))
    assert "\n" not in str(caught.value)
    assert earlier.exists()


def test_a_large_file_is_not_read(monkeypatch: pytest.MonkeyPatch, small_onnx: Path) -> None:
    """A file above the limit is refused by its size."""
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    with pytest.raises(QlumenError, match="the limit"):
        import_network(small_onnx, small_onnx.parent / "bundle", ALL, "mine")
