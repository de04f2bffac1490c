"""Faults injected into Ray's worker processes: each happens once, where a file of its name lies ready."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.changed_modules import change_modules

STAGES = ("0-start", "1-encode", "2-before-ledger", "3-before-tokens", "0-after-commit")
"""Where an actor may be killed, each preceded by the number of the shard under which it happens."""

_CODE = '''
import os
import signal
import time

FOLDER = os.environ["SABOTAGE"]
shard = [None]


def armed(stage):
    """Takes the file away: what is armed happens once, in whichever process comes first."""
    try:
        os.unlink(f"{FOLDER}/{stage}")
    except FileNotFoundError:
        return False
    return True


def kill_at(stage):
    if shard[0] is not None and armed(f"{shard[0]}-{stage}"):
        os.kill(os.getpid(), signal.SIGKILL)


def note(what):
    import ray

    with open(f"{FOLDER}/log", "a") as log:
        log.write(f"{what} {ray.get_runtime_context().get_node_id()} {os.getpid()}\\n")


def wrap_loop(module):
    tokenize_shard = module.tokenize_shard

    def wrapped(planned, *rest):
        shard[0] = planned.shard_index
        kill_at("start")
        yield from tokenize_shard(planned, *rest)

    module.tokenize_shard = wrapped


def wrap_encoding(module):
    begin = module.ModelEncoder.begin

    def wrapped(self, clips):
        note("encode")
        while os.path.exists(f"{FOLDER}/pause"):
            time.sleep(0.05)
        kill_at("encode")
        if armed("hang"):
            time.sleep(1e6)
        return begin(self, clips)

    module.ModelEncoder.begin = wrapped


def wrap_folder(module):
    write_bytes, publish = module.Folder.write_bytes, module.Folder._publish

    def wrapped_write(self, name, data):
        if name.startswith("ledger/"):
            kill_at("before-ledger")
        write_bytes(self, name, data)
        if name.startswith("ledger/"):
            kill_at("before-tokens")

    def wrapped_publish(self, staged, name):
        publish(self, staged, name)
        if name.startswith("shards/"):
            kill_at("after-commit")

    module.Folder.write_bytes, module.Folder._publish = wrapped_write, wrapped_publish


def wrap_decoding(module):
    module.GET_S = float(os.environ.get("GET_S", module.GET_S))
    events, decode_task = module.SourceTask.events, module.decode_task

    def wrapped(self):
        for event in events(self):
            if "killer" in self.source.uri:
                os.kill(os.getpid(), signal.SIGKILL)
            yield event

    module.SourceTask.events = wrapped


def wrap_fetch(module):
    source_events = module.source_events

    def wrapped(source, settings, **options):
        note("decode")
        yield from source_events(source, settings, **options)
        note("decoded")

    module.source_events = wrapped


def wrap_watch(module):
    module.QUIET_S = float(os.environ.get("QUIET_S", module.QUIET_S))


CHANGES = {
    "bitmill.pipeline.shard.shard_loop": wrap_loop,
    "bitmill.pipeline.shard.model_encoder": wrap_encoding,
    "bitmill.pipeline.storage.atomic_folder": wrap_folder,
    "bitmill.jobs.cluster.tokenizing.decode_tasks": wrap_decoding,
    "bitmill.pipeline.isolation.source_events": wrap_fetch,
    "bitmill.jobs.scheduling.heartbeat": wrap_watch,
}
'''


class Sabotage:
    """A folder of armed faults, and the log of what ran where."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        change_modules(folder / "site", _CODE)

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder / "site"), "SABOTAGE": str(self.folder)}

    def arm(self, *stages: str) -> None:
        for stage in stages:
            (self.folder / stage).touch()

    def is_armed(self, *stages: str) -> bool:
        return any((self.folder / stage).exists() for stage in stages)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Actors stop before they encode, and go on after the block."""
        self.arm("pause")
        try:
            yield
        finally:
            (self.folder / "pause").unlink()

    def forget(self) -> None:
        (self.folder / "log").unlink(missing_ok=True)

    def nodes(self, what: str) -> set[str]:
        """Ids of the nodes where it was done: ``encode`` or ``decode``."""
        return {line[1] for line in self._lines() if line[0] == what}

    def count(self, what: str) -> int:
        """How often it was done: ``encode``, ``decode``, or ``decoded``, which is a source to its end."""
        return sum(line[0] == what for line in self._lines())

    def actors(self) -> set[int]:
        """Process ids of actors that have come to encode, and live."""
        return {int(line[2]) for line in self._lines() if line[0] == "encode" and _lives(int(line[2]))}

    def _lines(self) -> list[list[str]]:
        log = self.folder / "log"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def _lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")  # noqa: PTH110
