"""A driver that is stopped while it joins a cluster."""

import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.commands import HANGS_S, ended, start
from tests.support.media import plain_mp4

_SOON_S = 120
"""Ray alone waits ten minutes for a silent cluster."""


class SilentCluster:
    """A server that accepts connections and never answers, as the head of a cluster that hangs."""

    def __init__(self) -> None:
        # On all interfaces: Ray takes the machine's address for 127.0.0.1.
        self._listener = socket.create_server(("", 0))
        self._connections: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self._connections.append(self._listener.accept()[0])
            except OSError:
                return
            self.asked.release()

    def close(self) -> None:
        self._listener.close()
        for connection in self._connections:
            connection.close()


@pytest.fixture
def silent_cluster() -> Iterator[SilentCluster]:
    cluster = SilentCluster()
    yield cluster
    cluster.close()


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_joins_a_silent_cluster_ends_at_the_first_signal(silent_cluster, tmp_path, number):
    output = tmp_path / "tokens"
    media = plain_mp4(tmp_path / "a.mp4")
    driver = start("tokenize", str(media), str(output), "--address", silent_cluster.address)
    # bitmill looks whether anything listens, then Ray asks.
    for _ in range(2):
        assert silent_cluster.asked.acquire(timeout=HANGS_S)
    driver.send_signal(number)
    done = ended(driver, _SOON_S)
    assert done.code == 130, done.err
    assert done.err == "error: Interrupted; committed shards stay. Run the same command again to resume.\n"
    assert not output.exists()
