"""Packages of optional extras: the error of a command that lacks one."""

from bitmill.schemas.errors import BadJobError


def missing_extra(extra: str, *, what: str) -> BadJobError:
    """Returns the error of a command that needs ``what``, which bitmill's extra installs."""
    return BadJobError(
        f"This command needs {what}; install bitmill's extra {extra}: pip install '.[{extra}]' in a copy of "
        f"its repository, or pip install './bitmill-….whl[{extra}]' of the wheel."
    )
