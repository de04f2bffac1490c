"""Which planned source a stored clip came from, also where one object has spans that share time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.dataset import clip_source
from bitmill.pipeline.dataset.clip_source import SourceMatcher
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import clip_id
from tests.support.fakes import make_job

RULE = make_job().sampling.rule()
TIMES = st.none() | st.integers(0, 20)


def _matcher(spans):
    sources = tuple(
        PlannedSource(uri="/v.mp4", size_bytes=1, version="", start_ns=start_ns, end_ns=end_ns)
        for start_ns, end_ns in spans
    )
    shard = PlannedShard(shard_id="s", shard_index=0, first_source_index=0, sources=sources)
    return SourceMatcher(shard, RULE)


def _row(span, start_ns):
    return {
        "source": "/v.mp4",
        "key": None,
        "start_ns": start_ns,
        "clip_id": clip_id("/v.mp4", None, span, start_ns, RULE),
    }


@given(st.lists(st.tuples(TIMES, TIMES), min_size=2, max_size=12, unique=True), st.integers(0, 20))
def test_each_clip_finds_its_span_wherever_it_begins(spans, start_ns):
    matcher = _matcher(spans)
    assert [matcher.place(_row(span, start_ns)) for span in spans] == list(range(len(spans)))
    with pytest.raises(FormatError, match="matches no planned source of its shard s"):
        matcher.place(_row((99, 100), start_ns))


def test_of_thousands_of_spans_few_are_hashed(monkeypatch):
    hashed = []
    monkeypatch.setattr(clip_source, "clip_id", lambda *values: (hashed.append(values), clip_id(*values))[1])
    spans = [(second, second + 1) for second in range(2000)]
    assert _matcher(spans).place(_row(spans[1500], 1500)) == 1500
    assert len(hashed) == 1
