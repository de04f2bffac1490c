"""Contenders in child processes, asked one at a time, so that none measures beside another's work."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

_TIMEOUT_S = 600


class RunningContender:
    """A child process with one contender over the folder at ``uri``. Leaving the block ends it."""

    def __init__(
        self,
        name: str,
        uri: str,
        corpus: Path,
        *,
        batch_size: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        words = [sys.executable, "-m", "benchmarks.reader.child", name, uri, str(corpus), str(batch_size)]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The child's answer to a command; ``{"failed": ...}`` where it died or gave none in time."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        if process.poll() is not None:
            return {"failed": "its process has ended"}
        process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], _TIMEOUT_S)
        line = process.stdout.readline() if ready else ""
        if not line:
            self._end()
            return {"failed": f"no answer in {_TIMEOUT_S} s" if not ready else "its process died"}
        return json.loads(line)

    def _end(self) -> None:
        """Its workers end with it: they watch their parent."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
