"""The exception hierarchy: the class decides how bitmill reacts, the message says what the user can do.

- BitmillError
    - UsageError: the request cannot be carried out. Stop, exit 2.
        - BadJobError: the job cannot run as written.
        - WrongArgumentError: a call's argument is wrong; also a ValueError.
        - OutputConflictError: the output contains something else.
        - TokenizerMismatchError: tokens are of another tokenizer.
        - BrokenContractError: a tokenizer does not do what its geometry says.
        - MissingPluginError: the package of a tokenizer is not installed.
        - NumericsMismatchError: a stream needs another machine's float rounding.
    - FormatError: a file of ours is damaged or too new. Stop, exit 2.
    - BadItemError: one item's bytes are at fault. Record it in the ledger, continue.
    - TransientError: the store or network may recover. Retry, bounded, then as infrastructure.
    - TooManyFailuresError: more failed items than the job allows. Stop, exit 4.
    - InfrastructureError: disk, store or cluster failed. Stop, exit 5.
    - InterruptedJobError: the user stopped the command. Stop, exit 130.
    - OutputClosedError: nobody reads the output any more. Stop silently, exit 141.

Any other exception ends a command with code 70 (``EXIT_UNEXPECTED``) and a file with its traceback.

Each message is one or two sentences for the person who ran the command: what was wrong, where, what to do.
"""

from bitmill.schemas.outcomes import Reason

EXIT_UNEXPECTED = 70
"""Exit code of a command after any other exception, which most likely is a bug in bitmill."""


class BitmillError(Exception):
    """Base class of all errors that bitmill raises on purpose; ``exit_code`` is the command's exit status."""

    exit_code = 1


class UsageError(BitmillError):
    """The request cannot be carried out: an option, an argument or a file that the user named is wrong."""

    exit_code = 2


class BadJobError(UsageError):
    """The job cannot run as written: a spec, source, manifest or option is wrong."""


class WrongArgumentError(UsageError, ValueError):
    """A call from Python has an invalid argument."""


class OutputConflictError(UsageError):
    """The output folder contains another job's dataset, or files that are not a dataset."""


class TokenizerMismatchError(UsageError):
    """A dataset's tokenizer is not the one that the caller expects or passed."""


class BrokenContractError(UsageError):
    """A tokenizer's codes or frames are not what its geometry says; a plugin's author must repair it."""


class MissingPluginError(UsageError):
    """The package that offers a tokenizer is not installed in a Python that needs it."""


class NumericsMismatchError(UsageError):
    """A compressed stream is intact, but this machine rounds floats differently than the one that made it."""


class FormatError(BitmillError):
    """A file of bitmill's own formats is damaged, or of a version that this release does not support."""

    exit_code = 2


class BadItemError(BitmillError):
    """One item cannot be tokenized (fully): ``reason`` is recorded in its ledger row, the job continues."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["BadItemError"], tuple[Reason, str]]:
        return (BadItemError, (self.reason, self.detail))


class TransientError(BitmillError):
    """A store or network failed in a way that may be temporary; callers retry a bounded number of times."""

    exit_code = 5


class TooManyFailuresError(BitmillError):
    """The share of failed items exceeds the job's ``max_failures``."""

    exit_code = 4


class InfrastructureError(BitmillError):
    """Disk, object store or cluster failed; running the same command again resumes."""

    exit_code = 5


class InterruptedJobError(BitmillError):
    """The user stopped the command; committed shards stay."""

    exit_code = 130


class OutputClosedError(BitmillError):
    """The reader of the command's output has exited, e.g. ``head``; the code is a shell's for SIGPIPE."""

    exit_code = 141
