"""Following a job's log over a connection that breaks: all of it, once; and addresses that are none."""

from typing import Any

import pytest

from bitmill.jobs.cluster.connection import job_api
from bitmill.jobs.cluster.connection.job_api import JobApi
from bitmill.schemas.errors import InfrastructureError, UsageError

LOG = [f"line {number}\n" for number in range(6)]


class BreakingClient:
    """A job client whose connection ends after so many chunks, each time from the log's beginning."""

    def __init__(self, *chunks: int) -> None:
        self._chunks = list(chunks)

    async def tail_job_logs(self, job_id: str):
        count = self._chunks.pop(0) if self._chunks else 0
        for text in LOG[:count]:
            yield text
        if count < len(LOG):
            raise RuntimeError("closed unexpectedly")


@pytest.fixture
def follow(monkeypatch):
    monkeypatch.setattr(job_api.time, "sleep", lambda _: None)

    def follow(*chunks: int) -> list[str]:
        api: Any = JobApi.__new__(JobApi)
        api.address, api._client = "http://head:8265", BreakingClient(*chunks)
        return list(JobApi.follow(api, "bitmill-x"))

    return follow


@pytest.mark.parametrize("chunks", [(6,), (1, 6), (2, 2, 5, 6), (0, 0, 3, 0, 6)])
def test_a_broken_connection_loses_and_doubles_nothing(follow, chunks):
    assert "".join(follow(*chunks)) == "".join(LOG)


def test_a_server_that_stays_away_ends_the_following(follow):
    with pytest.raises(
        InfrastructureError, match="The job server at http://head:8265 reported an error: closed unexpectedly"
    ):
        follow(3)


@pytest.mark.parametrize(
    "address",
    [
        *("ray://head:10001", "http://", "ftp://head", "auto://x", "http://["),
        *("head:port", "head:99999", "head:-1", "head:0", "head..x:1", f"{'a' * 70}:1"),
    ],
)
def test_an_address_that_is_no_job_servers_is_refused(address):
    with pytest.raises(UsageError, match=r"is not the address of a job server; .*http://HEAD:8265"):
        JobApi(address)


@pytest.mark.parametrize("port", ["8265", "80x", "99999"])
def test_an_address_with_a_password_is_refused_without_telling_it(port):
    with pytest.raises(UsageError, match="contains credentials") as told:
        JobApi(f"http://me:hunter2@head:{port}")
    assert "hunter2" not in str(told.value)


def test_where_nothing_answers_a_sentence_says_so():
    with pytest.raises(InfrastructureError, match=r"No job server at http://127\.0\.0\.1:9: .*port right\?"):
        JobApi("127.0.0.1:9")
