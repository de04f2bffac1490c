"""Checks that a tokenizer keeps its contract, for the tests of those who write one (docs/plugins.md).

``check_tokenizer`` runs all checks. With pytest, which is not needed here, a test per check::

    @pytest.mark.parametrize("check", conformance_checks(), ids=str)
    def test_my_tokenizer(check):
        check(MyTokenizer)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bitmill.schemas.errors import BrokenContractError, WrongArgumentError
from bitmill.schemas.models.geometry import Promise, SizePx
from bitmill.testing import checks
from bitmill.testing.subject import DoesNotApplyError, Make, Subject

__all__ = ["Check", "check_tokenizer", "conformance_checks"]


def check_tokenizer(
    make: Make,
    *,
    sizes: Sequence[SizePx] | None = None,
    lengths: Sequence[int] | None = None,
    other: Make | None = None,
) -> list[str]:
    """Run all checks; return the names of those that apply to the tokenizer.

    ``sizes`` (height, width in pixels) and ``lengths`` (frames) of the clips must be legal; the defaults are
    a few small ones. ``other`` makes the tokenizer with other weights; without it, a weight is changed in
    memory. Raises BrokenContractError with the name of the first check that fails.
    """
    every = conformance_checks()
    return [check.name for check in every if check(make, sizes=sizes, lengths=lengths, other=other)]


@dataclass(frozen=True)
class Check:
    """A check by name; calling it runs it."""

    name: str
    _run: "Callable[[Subject], None]"
    _promise: Promise | None = None

    def __call__(
        self,
        make: Make,
        *,
        sizes: Sequence[SizePx] | None = None,
        lengths: Sequence[int] | None = None,
        other: Make | None = None,
    ) -> bool:
        """Return whether the check applies; arguments and errors as for ``check_tokenizer``."""
        try:
            subject = Subject(make, sizes, lengths, other)
            if self._promise is not None and self._promise not in subject.geometry.promises:
                return False
            self._run(subject)
        except DoesNotApplyError:
            return False
        except WrongArgumentError:
            raise
        except BrokenContractError as error:
            raise BrokenContractError(f"{self.name}: {error}") from error
        except Exception as error:
            raise BrokenContractError(f"{self.name}: {type(error).__name__}: {error}") from error
        return True

    def __str__(self) -> str:
        return self.name


def conformance_checks() -> list[Check]:
    """Return all checks, the basic ones first."""
    return [
        Check("members", checks.check_members),
        Check("lengths", checks.check_lengths),
        Check("sizes", checks.check_sizes),
        Check("scales", checks.check_scales),
        Check("codes", checks.check_codes),
        Check("determinism", checks.check_determinism),
        Check("batch", checks.check_batch),
        Check("causal", checks.check_causal, "causal"),
        Check("prefix", checks.check_prefix, "prefix"),
        Check("streams", checks.check_streams, "streams"),
        Check("finite", checks.check_finite),
        Check("dtype", checks.check_dtype),
        Check("made-again", checks.check_made_again),
        Check("fingerprint", checks.check_fingerprint),
    ]
