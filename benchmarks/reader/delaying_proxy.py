"""A proxy that delays each request to a server on this machine, as a store in a data centre would."""

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

_CHUNK_BYTES = 1 << 18


@contextmanager
def delayed(endpoint: str, delay_s: float) -> Generator[str]:
    """The proxy's own endpoint, for the block's length. Requests are delayed, each by itself, answers not.

    What a client sends in one piece counts as one request: right for reads, not for large uploads.
    """
    server = urlsplit(endpoint)
    loop = asyncio.new_event_loop()

    async def pass_on(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(server.hostname, server.port)
        await asyncio.gather(_copy(client, requests, delay_s), _copy(answers, to_client, 0.0))

    listening = loop.run_until_complete(asyncio.start_server(pass_on, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float) -> None:
    try:
        while data := await source.read(_CHUNK_BYTES):
            if delay_s:
                await asyncio.sleep(delay_s)
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()


def _serve(endpoint: str, delay_s: float, told: "multiprocessing.Queue[str]") -> None:
    with delayed(endpoint, delay_s) as own:
        told.put(own)
        time.sleep(3600)


@contextmanager
def proxy_process(endpoint: str, delay_s: float) -> Generator[str]:
    """As ``delayed``, in a process of its own, which shares no interpreter with what is measured."""
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_serve, args=(endpoint, delay_s, told), daemon=True)
    process.start()
    try:
        yield told.get(timeout=300)
    finally:
        process.terminate()
        process.join()
