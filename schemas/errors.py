"""The error tree; its branches decide what happens next, its messages say what to do.

    BitmillError
    ├── UsageError             what was asked for cannot be done           stop now, exit 2
    │   ├── BadJobError            the job cannot run as written
    │   ├── WrongArgumentError     a call's argument is wrong; a ValueError, too
    │   ├── OutputConflictError    the output holds something else's work
    │   ├── TokenizerMismatchError tokens and tokenizer do not belong together
    │   └── NumericsMismatchError  a stream needs the arithmetic of another machine
    ├── FormatError            a file of ours is damaged or too new        stop now, exit 2
    ├── BadItemError           one item's bytes are at fault               record in the ledger, go on
    ├── TransientError         the store or network may answer next time   retry, bounded, then infrastructure
    ├── TooManyFailuresError   more failed items than the job allows       stop now, exit 4
    ├── InfrastructureError    disk, store or cluster gave out             stop now, exit 5
    ├── InterruptedJobError    the user stopped the command                stop now, exit 130
    └── OutputClosedError      nobody reads the output any more            stop now, in silence, exit 141

What is no error of ours ends a command with code 70 (``EXIT_UNEXPECTED``) and a file with its traceback.

Each message is one or two sentences for the person who ran the command: what was wrong, where, what to do.
"""

from bitmill.schemas.outcomes import Reason

EXIT_UNEXPECTED = 70
"""Exit code of a command that met an error which is none of these: a fault of bitmill's, most likely."""


class BitmillError(Exception):
    """Root of every error that bitmill raises on purpose; ``exit_code`` is the command's exit status."""

    exit_code = 1


class UsageError(BitmillError):
    """What was asked for cannot be done: an option, an argument or a file that the user named is wrong."""

    exit_code = 2


class BadJobError(UsageError):
    """The job cannot run as written: a spec, source, manifest or option is wrong."""


class WrongArgumentError(UsageError, ValueError):
    """A call from Python has an argument that cannot be."""


class OutputConflictError(UsageError):
    """The output folder holds another job's dataset, or files that are no dataset."""


class TokenizerMismatchError(UsageError):
    """A dataset's tokenizer is not the one that the caller expects or has given."""


class NumericsMismatchError(UsageError):
    """A compressed stream is whole, but this machine's floats are not those that it was made with."""


class FormatError(BitmillError):
    """A file of bitmill's own formats is damaged, or of a version that this release does not know."""

    exit_code = 2


class BadItemError(BitmillError):
    """One item cannot be tokenized (fully): ``reason`` goes to its ledger row, the job goes on."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["BadItemError"], tuple[Reason, str]]:
        return (BadItemError, (self.reason, self.detail))


class TransientError(BitmillError):
    """A store or network failed in a way that may pass; callers retry a bounded number of times."""

    exit_code = 5


class TooManyFailuresError(BitmillError):
    """The share of failed items exceeds the job's ``max_failures``."""

    exit_code = 4


class InfrastructureError(BitmillError):
    """Disk, object store or cluster gave out; running the same command again resumes."""

    exit_code = 5


class InterruptedJobError(BitmillError):
    """The user stopped the command; what is committed stays."""

    exit_code = 130


class OutputClosedError(BitmillError):
    """Who read the command's output has gone, as ``head`` does; the code is a shell's for SIGPIPE."""

    exit_code = 141
