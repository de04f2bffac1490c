"""Each source of a shard gets the events decoded for it, or the end that replaces them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.archive.tar_events import whole_archive
from bitmill.pipeline.items import ItemEnd, ItemStart, MediaFacts
from bitmill.pipeline.shard.events_by_source import bundles_without, events_by_source
from bitmill.schemas.outcomes import Reason
from tests.support.fakes import make_source

_SKIPPED = ItemEnd.unread(Reason.REMOVED, "skipped")


def _events(source):
    """Of a tar: two items, named after it."""
    end = ItemEnd(facts=MediaFacts(), detail=source.uri)
    if source.is_archive:
        return [event for key in "ab" for event in (ItemStart(key=key, size_bytes=1), end)]
    return [end]


# Enough sources for bundles of several.
@pytest.mark.slow
@given(st.lists(st.sampled_from([".jpg", ".tar"]), min_size=60, max_size=140), st.sets(st.integers(0, 139)))
def test_each_source_gets_its_events_in_order_and_decoding_ends(suffixes, places):
    sources = [replace(make_source(n), uri=f"/{n}{suffix}") for n, suffix in enumerate(suffixes)]
    skipped = dict.fromkeys(places & set(range(len(sources))), _SKIPPED)
    bundles = bundles_without(sources, skipped)
    over = []

    def decoded():
        for bundle in bundles:
            yield (event for source in bundle.sources for event in _events(source))
        over.append(True)

    for place, (source, events) in enumerate(
        zip(sources, events_by_source(sources, skipped, bundles, decoded()), strict=True)
    ):
        if place not in skipped:
            assert list(events) == _events(source)
        else:
            expected = whole_archive(source, _SKIPPED) if source.is_archive else [_SKIPPED]
            assert list(events) == list(expected)
    assert over
