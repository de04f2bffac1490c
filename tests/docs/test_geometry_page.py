"""The rules of docs/geometry.md are the code's, and its program explains a dataset's rows."""

from dataclasses import astuple
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.decode.pixels.crop import centre_crop
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets, NativeSizes
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.shard_loop import ShardContext, tokenize_shard
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.storage import Folder
from bitmill.schemas.models.geometry import Code, Geometry
from tests.support.fakes import CodeEncoder, make_job
from tests.support.geometry_page import page_block, page_rules
from tests.support.media import ODD_FILES

RULES = page_rules()
sides = st.integers(1, 5000)
aspects = st.fractions(Fraction(1, 20), Fraction(20), max_denominator=50)
sizes = st.tuples(*[st.integers(1, 64).map(lambda count: 8 * count)] * 2)


@given(sides, sides, aspects, st.lists(sizes, min_size=1, max_size=5, unique=True))
def test_buckets_and_crops(width, height, aspect, buckets):
    chosen = Buckets(tuple(buckets)).size_of(width, height, aspect)
    assert RULES.nearest_bucket(width, height, buckets, aspect) == chosen
    assert RULES.scaled_and_crop(width, height, chosen, aspect) == astuple(
        centre_crop(width, height, aspect, chosen)
    )


@pytest.mark.slow
@given(
    sides,
    sides,
    aspects,
    sizes.filter(lambda size: max(size) <= 64),
    st.none() | st.integers(64, 1000),
    st.none() | st.integers(4096, 10**6),
)
def test_native_sizes(width, height, aspect, multiple, short_side_px, area_px):
    native = NativeSizes(multiple_px=multiple, short_side_px=short_side_px, area_px=area_px)
    expected = native.size_of(width, height, aspect)
    assert RULES.native_size(width, height, multiple, short_side_px, area_px, aspect) == expected


def test_the_program_explains_the_rows_of_a_dataset(tmp_path, monkeypatch, capsys):
    for name in ("plain.mp4", "rotated.mp4", "photo.jpg", "exif.jpg"):
        ODD_FILES[name].make(tmp_path / name)
    job = make_job(source={"paths": [str(tmp_path)]}, sampling={"fps": 2, "clip_frames": 16})
    found = Buckets(((256, 448), (448, 256), (256, 256)))
    geometry = Geometry(patch_px=(8, 8), code=Code.of_bits(8))
    context = ShardContext(
        job=job,
        job_fingerprint="j" * 32,
        tokenizer_fingerprint="t" * 32,
        geometry=geometry,
        sizes=found,
        pixel_rule=2,
        shard_version=2,
    )
    settings = DecodeSettings.of(job, found, pixel_rule=2)
    for shard in cut_shards(find_sources(job.source).sources, job.sharding, "f" * 32):
        items = (
            (event for event in source_events(source, settings) if not isinstance(event, Staged))
            for source in shard.sources
        )
        list(tokenize_shard(shard, items, CodeEncoder(geometry), context, Folder(str(tmp_path / "tokens"))))
    monkeypatch.chdir(tmp_path)
    exec(compile(page_block(), "geometry.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert sorted(set(said)) == [
        "120×160 as 256×448, 24% of the picture cropped",
        "160×120 as 448×256, 24% of the picture cropped",
    ]
