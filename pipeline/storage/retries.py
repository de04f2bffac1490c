"""How often, and after what pause, a request that a store failed is made again."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from bitmill.schemas.errors import TransientError

T = TypeVar("T")

_ATTEMPTS = 4


def retrying(action: Callable[[], T]) -> T:
    """Run ``action`` and retry it a few times after a TransientError, with jittered back-off."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return action()
        except TransientError:
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)  # noqa: S311 - jitter needs no secrecy
    return action()
