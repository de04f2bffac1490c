"""What keeps the code easy to find: small folders, and tests that lie where the code does."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.commands import REPOSITORY

ROOMS = ("jobs", "pipeline", "bsq_model", "schemas")


def _modules(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.py") if path.name != "__init__.py"]


@pytest.mark.parametrize("room", ROOMS)
def test_no_folder_has_more_than_twelve_modules(room):
    counts = Counter(path.parent for path in _modules(REPOSITORY / room))
    assert {folder: count for folder, count in counts.items() if count > 12} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_tests_lie_in_the_folder_of_their_code(room):
    tests = REPOSITORY / "tests" / room
    for path in _modules(tests):
        assert (REPOSITORY / room / path.parent.relative_to(tests)).is_dir(), path
