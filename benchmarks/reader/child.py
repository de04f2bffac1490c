"""One contender in a process of its own: reads a command a line, answers each with a line of JSON.

What a contender prints goes to stderr. A failure is an answer, too, with its last line under ``failed``.
"""

import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.reader.contender import Contender, ImpossibleError, load_contender
from benchmarks.reader.corpus import open_corpus
from benchmarks.reader.measuring import check, epoch_of, memory_growth, rate, whole_rate


class Child:
    """Answers commands about one contender; opens it when it is first needed."""

    def __init__(self, name: str, uri: str, corpus: Path, batch_size: int, scratch: str) -> None:
        self._contender = load_contender(name)
        self._uri = uri
        self._corpus = corpus
        self._num_clips = len(open_corpus(corpus))
        self._batch_size = batch_size
        self._cache = Path(scratch) / "cache"
        self._opened: Contender | None = None

    def write(self) -> dict[str, Any]:
        folder = Path(self._uri)
        folder.mkdir(parents=True)
        self._contender.write(self._corpus, folder)
        return {}

    def check(self, mode: str) -> dict[str, Any]:
        return {"mixing": check(self._kept(), mode, self._corpus)}

    def rate(self, mode: str, epoch: int, seconds: float) -> dict[str, Any]:
        read = epoch_of(self._kept(), mode, self._num_clips)
        tokens_per_s, first_s = rate(read, epoch, seconds)
        return {"tokens_per_s": tokens_per_s, "first_batch_s": first_s}

    def check_afresh(self, mode: str) -> dict[str, Any]:
        """As ``check``, of a contender that is opened for it."""
        return {"mixing": check(self._open(), mode, self._corpus)}

    def whole_rate(self, mode: str, max_clips: int) -> dict[str, Any]:
        return {"tokens_per_s": whole_rate(self._open, mode, self._num_clips, max_clips)}

    def memory(self, seconds: float) -> dict[str, Any]:
        return memory_growth(self._open, self._num_clips, seconds)

    def _kept(self) -> Contender:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> Contender:
        """Over an empty cache; the one before is gone."""
        shutil.rmtree(self._cache, ignore_errors=True)
        self._cache.mkdir()
        return self._contender(self._uri, batch_size=self._batch_size, cache=self._cache)


def answer(child: Child, command: dict[str, Any]) -> dict[str, Any]:
    """Carry out ``{"do": method, ...}``."""
    method: Callable[..., dict[str, Any]] = getattr(child, command.pop("do"))
    try:
        return method(**command)
    except ImpossibleError as error:
        return {"impossible": str(error)}
    except Exception as error:  # noqa: BLE001 - a contender may fail in any way
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}


def main() -> None:
    name, uri, corpus, batch_size = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(dir=Path(corpus).parent, ignore_cleanup_errors=True) as scratch:
        child = Child(name, uri, Path(corpus), int(batch_size), scratch)
        for line in sys.stdin:
            print(json.dumps(answer(child, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
