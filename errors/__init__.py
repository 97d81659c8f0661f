"""Everything qlumen raises on purpose.

    QlumenError                 exit code 1
    +-- UsageError              exit code 2: the command was wrong; nothing was started
    |   +-- ConfigError         unknown key, value out of bounds (also ValueError)
    |   +-- MissingExtraError   an optional library is not installed (also ImportError)
    +-- SourceError             the input cannot be read
    |   +-- SourceNotFoundError no such file, folder or device; exit code 2
    |   |                       (also FileNotFoundError)
    |   +-- NotAVideoError      opened, but holds no video (also ValueError)
    |   +-- NoFramesError       a video or folder without one readable frame
    |   +-- TruncatedError      ended early; what was decoded before is kept
    |   +-- RefusedError        larger or longer than the limits, or of a kind not taken
    +-- DatasetError            images and masks that do not belong together
    +-- BundleError             a model bundle that cannot be used
    |   +-- BundleHashError     a file of it is not the one it was written with
    +-- EngineError             the compiled network cannot be made or run
    +-- CircuitError            a circuit that cannot be cached or run as asked (also ValueError)
    +-- TrainingError           training cannot start or go on
    +-- ReviewError             a stored review that cannot be used
    +-- WorkerError             a process that worked on a recording ended before it was done
    +-- SinkError               an output cannot be written

Each message says what was got, what was wanted, and what to do.
"""


class QlumenError(Exception):
    """Base of all errors that qlumen raises on purpose; `exit_code` is the command's."""

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
    """Say what an error is in one line: the message of our own, with the type of any other."""
    return str(error) if isinstance(error, QlumenError) else f"{type(error).__name__}: {error}"
