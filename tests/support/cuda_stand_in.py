"""Stands in for a card in torch: streams do nothing, and a graph repeats what ran while it was
captured, on the same memory, as CUDA does."""

from typing import Any, ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from qlumen.realtime.engines import cuda

NOT_PERMITTED = "operation not permitted when stream is capturing"


class Nothing:
    """Accepts any call and any use as a context."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __getattr__(self, name: str) -> "type[Nothing]":
        return Nothing

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class Graph:
    launches = 0

    def __init__(self) -> None:
        self.steps: list[tuple[Any, Any, Any, Any]] = []

    def replay(self) -> None:
        Graph.launches += 1
        for operation, given, options, result in self.steps:
            again = operation(*given, **options)
            if isinstance(result, torch.Tensor) and again is not result:
                result.copy_(again)


class Capture(TorchDispatchMode):
    modes: ClassVar[list[str]] = []
    fails = False

    def __init__(self, graph: Graph, *_: object, capture_error_mode: str) -> None:
        super().__init__()
        self.graph = graph
        self.modes.append(capture_error_mode)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.fails:
            raise RuntimeError(f"{NOT_PERMITTED}\nand more")
        result = func(*args, **(kwargs or {}))
        self.graph.steps.append((func, args, kwargs or {}, result))
        return result


def put_in_place(patch: pytest.MonkeyPatch) -> None:
    """Replace what `cuda` calls of a card; tensors lie in the host's memory."""
    for name in ("Stream", "Event", "current_stream", "stream", "synchronize"):
        patch.setattr(torch.cuda, name, Nothing)
    patch.setattr(torch.cuda, "CUDAGraph", Graph)
    patch.setattr(torch.cuda, "graph", Capture)
    patch.setattr(torch.cuda, "graph_pool_handle", Nothing)
    patch.setattr(torch.cuda, "get_device_name", lambda _: "Stand-in")
    patch.setattr(cuda, "check_cuda", lambda _: torch.device("cpu"))
    patch.setattr(cuda, "pinned_like", torch.zeros_like)
    patch.setattr(Graph, "launches", 0)
    patch.setattr(Capture, "modes", [])
