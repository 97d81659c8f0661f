"""Holds the base class of sources, engines and sinks, which must be closed."""

from types import TracebackType
from typing import Self


class Closing:
    """Closes at the end of its block, as a context manager."""

    def close(self) -> None:
        """Release all resources; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
