"""Defines the errors that qlumen raises on purpose.

    QlumenError                 exit code 1
    +-- UsageError              exit code 2: the command was wrong; nothing was started
    |   +-- ConfigError         unknown key, value out of bounds (also ValueError)
    |   +-- MissingExtraError   an optional library is not installed (also ImportError)
    +-- SourceError             the input cannot be read
    |   +-- SourceNotFoundError no such file, folder or device; exit code 2
    |   |                       (also FileNotFoundError)
    |   +-- NotAVideoError      the input opens, but it holds no video (also ValueError)
    |   +-- NoFramesError       a video or folder has no readable frame
    |   +-- TruncatedError      the input ended early; the decoded frames are kept
    |   +-- RefusedError        the input exceeds the limits, or its kind is not accepted
    +-- DatasetError            images and masks do not belong together
    +-- BundleError             a model bundle cannot be used
    |   +-- BundleHashError     a file of the bundle has changed since it was written
    +-- EngineError             the compiled network cannot be made or run
    +-- CircuitError            a circuit cannot be cached or run as asked (also ValueError)
    +-- TrainingError           training cannot start or continue
    +-- ReviewError             a stored review cannot be used
    +-- WorkerError             the process that analysed a recording ended too early
    +-- SinkError               an output cannot be written

Each message says what it got, what it needs, and what to do.
"""


class QlumenError(Exception):
    """Marks all errors of qlumen; `exit_code` is the exit code of the command."""

    exit_code = 1


class UsageError(QlumenError):
    exit_code = 2


class ConfigError(UsageError, ValueError):
    pass


class MissingExtraError(UsageError, ImportError):
    pass


class SourceError(QlumenError):
    pass


class SourceNotFoundError(SourceError, FileNotFoundError):
    exit_code = 2


class NotAVideoError(SourceError, ValueError):
    pass


class NoFramesError(SourceError):
    pass


class TruncatedError(SourceError):
    pass


class RefusedError(SourceError):
    pass


class DatasetError(QlumenError):
    pass


class BundleError(QlumenError):
    pass


class BundleHashError(BundleError):
    pass


class EngineError(QlumenError):
    pass


class CircuitError(QlumenError, ValueError):
    pass


class TrainingError(QlumenError):
    pass


class ReviewError(QlumenError):
    pass


class WorkerError(QlumenError):
    pass


class SinkError(QlumenError):
    pass


def describe(error: BaseException) -> str:
    """Describe an error in one line: qlumen's by the message, others also by the type."""
    return str(error) if isinstance(error, QlumenError) else f"{type(error).__name__}: {error}"
