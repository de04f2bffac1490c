"""A store that throttles, resets and cuts short: whatever single call fails, the dataset's bytes stay."""

import random
from collections.abc import Iterator

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bitmill.jobs.preparation.prepare import prepare
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import ItemEvent
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import TransientError
from bitmill.schemas.requests.job import JobSpec
from tests.support.fakes import HashEncoder
from tests.support.faulty_store import FAULTS, Fault, FaultyStore, faulty_store
from tests.support.media import real_pictures

pytestmark = pytest.mark.s3

_NUM_PICTURES = 4


@pytest.fixture
def store(s3, _s3_process, monkeypatch) -> Iterator[tuple[FaultyStore, str]]:
    media = Folder(f"{s3}/media")
    for number, picture in enumerate(real_pictures(_NUM_PICTURES, 96, 72)):
        with media.publishing(f"{number}.png") as staged:
            Image.fromarray(picture).save(staged.path, format="PNG")
    with faulty_store(_s3_process.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield proxy, s3


def _run(base: str, name: str) -> dict[str, bytes]:
    """A whole job but for Ray: list, plan, read, decode, encode, publish; every stored file but the card."""
    document = {
        "version": 1,
        "source": {"paths": [f"{base}/media"]},
        "output": f"{base}/{name}",
        "tokenizer": {"preset": "tiny", "seed": 1},
        "compute": {"device": "cpu"},
        "sharding": {"max_sources": 2},
    }
    prepared = prepare(JobSpec.model_validate(document), cluster_has_gpus=lambda: False)
    decode = DecodeSettings.of(prepared.job, prepared.context.sizes, pixel_rule=prepared.context.pixel_rule)
    encoder = HashEncoder(grid_size=16)
    for shard in prepared.remaining:
        items = (_events(source, decode) for source in shard.sources)
        list(tokenize_shard(shard, items, encoder, prepared.context, prepared.folder))
    folder = prepared.folder
    return {
        f"{part}/{file}": folder.read_bytes(f"{part}/{file}")
        for part in ("plan", "shards", "ledger", "tokenizer")
        for file in folder.list_names(part)
    }


def _events(source, decode) -> Iterator[ItemEvent]:
    return (event for event in source_events(source, decode) if not isinstance(event, Staged))


def test_each_single_call_may_fail_in_every_way(store):
    proxy, base = store
    proxy.begin(lambda _: None)
    undisturbed = _run(base, "undisturbed")
    num_calls = len(proxy.calls)
    assert num_calls > 30
    assert sum(name.startswith("shards/") for name in undisturbed) == _NUM_PICTURES // 2
    runs = 0

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(number=st.integers(0, num_calls - 1), fault=st.sampled_from(FAULTS))
    def law(number: int, fault: Fault) -> None:
        nonlocal runs
        runs += 1
        proxy.begin(lambda call: fault if call == number else None)
        assert _run(base, f"run-{runs}") == undisturbed
        assert proxy.injected == [fault]

    law()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_fifth_of_all_calls_may_fail(store, seed):
    proxy, base = store
    proxy.begin(lambda _: None)
    undisturbed = _run(base, "undisturbed")
    drawn = random.Random(seed)
    proxy.begin(lambda _: drawn.choice(FAULTS) if drawn.random() < 0.2 else None)
    assert _run(base, "disturbed") == undisturbed
    assert len(set(proxy.injected)) > 2


def test_a_store_that_never_answers_is_told_and_leaves_nothing(store):
    proxy, base = store
    proxy.begin(lambda _: "slow_down")
    with pytest.raises(TransientError, match="media"):
        Folder(f"{base}/media").read_bytes("0.png")
