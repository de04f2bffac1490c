"""Is anything slower than it was? This tree against the last tag's, and against peers; exit code 1 if so.

    python -m benchmarks.guard [--against REF] [--rounds N] [--least RATIO]

`benchmarks/guard_measurements.py` says what is measured. Each round runs it over both trees, one after the
other. What counts is the ratio of ours now to ours then, in each round; and the same with both in relation to
their peer in the same minute, which takes out what else the machine did. Only what is below RATIO both ways
is told.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine

REPOSITORY = Path(__file__).resolve().parents[1]
_PACKAGES = ["numpy", "numba", "pillow", "torch", "pyarrow"]

Round = dict[str, Any]
"""By name, what ``guard_measurements.py`` printed of it."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of one measurement; ratios are medians over the rounds, null where the older tree has none."""

    name: str
    to_peer: float
    to_then: float | None
    to_then_by_peers: float | None

    def is_slower(self, least: float) -> bool:
        """Whether both ways of comparing with then say so."""
        ratios = [ratio for ratio in (self.to_then, self.to_then_by_peers) if ratio is not None]
        return bool(ratios) and all(ratio < least for ratio in ratios)


def judge(now: Sequence[Round], then: Sequence[Round]) -> list[Verdict]:
    """Verdicts over paired rounds, of all that this tree measures."""
    verdicts: list[Verdict] = []
    for name in now[0]:
        if "missing" in now[0][name]:
            raise ValueError(f"{name} cannot be measured in this tree: {now[0][name]['missing']}")
        pairs = [(new[name], old[name]) for new, old in zip(now, then, strict=True)]
        has_then = all("ours" in old for _, old in pairs)
        by_peers = [
            (new["ours"] / new["peer"]) / (old["ours"] / old["peer"]) for new, old in pairs if has_then
        ]
        verdicts.append(
            Verdict(
                name=name,
                to_peer=median(new["ours"] / new["peer"] for new, _ in pairs),
                to_then=median(new["ours"] / old["ours"] for new, old in pairs) if has_then else None,
                to_then_by_peers=median(by_peers) if has_then else None,
            )
        )
    return verdicts


def table(verdicts: Sequence[Verdict], against: str, least: float) -> str:
    """Markdown."""
    lines = [
        f"| measured | of the peer's speed | of {against}'s | in relation to the peer | |",
        "|---|---|---|---|---|",
    ]
    for one in verdicts:
        then = ["–" if ratio is None else f"{ratio:.2f}×" for ratio in (one.to_then, one.to_then_by_peers)]
        said = "**slower**" if one.is_slower(least) else ""
        lines.append(f"| {one.name} | {one.to_peer:.2f}× | {then[0]} | {then[1]} | {said} |")
    return "\n".join(lines)


def last_tag() -> str | None:
    """The newest tag before this commit, or null where there is none."""
    words = ["git", "-C", str(REPOSITORY), "describe", "--tags", "--abbrev=0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def measured(tree: Path, seconds: float) -> Round:
    """One run over a tree, in a process of its own."""
    words = [sys.executable, str(REPOSITORY / "benchmarks" / "guard_measurements.py"), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--against", metavar="REF", help="of git (default: the last tag)")
    add("--rounds", type=int, default=5, help="repetitions (default: %(default)s)")
    add("--seconds", type=float, default=0.3, help="of each measurement (default: %(default)s)")
    add(
        "--least",
        type=float,
        default=0.8,
        help="ratio below which something is slower (default: %(default)s)",
    )
    asked = parser.parse_args()
    against = asked.against or last_tag()
    if against is None:
        print("There is no tag yet: name a commit with --against.")
        return 0
    where = machine.describe(_PACKAGES)
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        git = ["git", "-C", str(REPOSITORY), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), against], check=True)
        try:
            now: list[Round] = []
            then: list[Round] = []
            for _ in range(asked.rounds):
                now.append(measured(REPOSITORY, asked.seconds))
                then.append(measured(tree, asked.seconds))
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    verdicts = judge(now, then)
    print(f"{asked.rounds} rounds against {against}; {machine.sentence(where)}\n")
    print(table(verdicts, against, asked.least))
    return 1 if any(one.is_slower(asked.least) for one in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
