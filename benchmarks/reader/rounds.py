"""The course of the benchmark: write, check, measure in rounds, one contender after another."""

import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reader.contender import load_contender, missing_packages
from benchmarks.reader.measuring import MODES
from benchmarks.reader.running import RunningContender
from benchmarks.reader.s3 import served
from benchmarks.repeated import summary

S3_MODES = ("sequential", "shuffled", "clips")
_S3_CLIPS = 64
_MEMORY_S = 10.0

Told = dict[str, Any]
"""Of a contender: title, bytes, ``modes``, ``mixing``, ``memory``; or why not: ``left_out``, ``failed``."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is measured, where, and how long."""

    folder: Path
    """Holds a folder of each contender's files."""
    corpus: Path
    batch_size: int
    num_rounds: int
    seconds: float

    def child(self, name: str, uri: str = "", environment: Mapping[str, str] | None = None):
        """A contender's process, over its local folder or ``uri``."""
        place = uri or str(self.folder / name)
        return RunningContender(name, place, self.corpus, batch_size=self.batch_size, environment=environment)


def stored(name: str, course: Course, *, from_s3: bool) -> Told:
    """What a contender is; its files are written, unless they are there or it is left out."""
    contender = load_contender(name)
    told: Told = {"title": contender.title, "modes": {}}
    missing = missing_packages(contender)
    if missing:
        return told | {"left_out": f"{', '.join(missing)} is not installed (see --help)"}
    if from_s3 and contender.no_s3 is not None:
        return told | {"left_out": contender.no_s3}
    place, ready = course.folder / name, course.folder / f"{name}.ready"
    if not ready.exists():
        _say(f"writing {contender.title}")
        shutil.rmtree(place, ignore_errors=True)
        with course.child(name) as child:
            told |= child.ask("write")
        if "failed" in told:
            return told
        ready.touch()
    return told | {"bytes": contender.stored_bytes(place)}


def measure(told: Mapping[str, Told], course: Course) -> None:
    """Check each way of reading, time them in rounds, look at memory; adds to what is known."""
    with ExitStack() as stack:
        running = [stack.enter_context(course.child(name)) for name in told]
        _check(told, running, MODES, "check")

        def ask(child: RunningContender, mode: str, number: int) -> Told:
            return child.ask("rate", mode=mode, epoch=1000 * number, seconds=course.seconds)

        _in_rounds(told, course, running, MODES, ask)
    for name in told:
        _say(f"memory of {told[name]['title']}")
        with course.child(name) as child:
            told[name]["memory"] = child.ask("memory", seconds=_MEMORY_S)


def measure_s3(told: Mapping[str, Told], course: Course, uri: str) -> None:
    """Whole epochs from S3; adds to what is known."""
    with ExitStack() as stack:
        server = stack.enter_context(served(uri, course.folder, list(told)))
        running = [
            stack.enter_context(course.child(name, f"{server.uri}/{name}", server.environment))
            for name in told
        ]

        _check(told, running, S3_MODES, "check_afresh")

        def ask(child: RunningContender, mode: str, _number: int) -> Told:
            return child.ask("whole_rate", mode=mode, max_clips=_S3_CLIPS)

        _in_rounds(told, course, running, S3_MODES, ask)


def _check(
    told: Mapping[str, Told], running: Sequence[RunningContender], modes: Sequence[str], how: str
) -> None:
    """Leave an empty answer for each mode that gives the right tokens, else why it does not."""
    for child in running:
        for mode in modes:
            _say(f"checking {told[child.name]['title']}, {mode}")
            answer = child.ask(how, mode=mode)
            mixing = answer.pop("mixing", None)
            if mode == "shuffled" and mixing:
                told[child.name]["mixing"] = mixing
            told[child.name]["modes"][mode] = answer


def _in_rounds(
    told: Mapping[str, Told],
    course: Course,
    running: Sequence[RunningContender],
    modes: Sequence[str],
    ask: Callable[[RunningContender, str, int], Told],
) -> None:
    """Ask each contender once in each mode and round; keep median and spread, or the first failure."""
    found: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for number in range(1, course.num_rounds + 1):
        for mode in modes:
            _say(f"round {number} of {course.num_rounds}, {mode}")
            for child in running:
                unable = told[child.name]["modes"][mode]
                found[child.name, mode].append(unable or ask(child, mode, number))
    for (name, mode), answers in found.items():
        odd = next((one for one in answers if {"failed", "impossible"} & one.keys()), None)
        figures = {key: summary([one[key] for one in answers]) for key in answers[0]} if odd is None else odd
        told[name]["modes"][mode] = figures


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
