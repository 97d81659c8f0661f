"""What sources, engines and sinks share: they hold something until they are closed."""

from types import TracebackType
from typing import Self


class Closing:
    """A context manager that closes at the end of its block."""

    def close(self) -> None:
        """Release what is held; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
