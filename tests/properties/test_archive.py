"""Laws of tars: every media member is an item once, and every sidecar meets its media wherever it stands."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.archive.match_sidecars import arrange
from bitmill.pipeline.archive.sidecars import item_metadata
from bitmill.pipeline.archive.tar_index import Member, index_tar
from bitmill.schemas.outcomes import Reason
from tests.support.tars import cut, write_tar

STEMS = st.text("ab.", min_size=1, max_size=5).filter(lambda stem: not stem.startswith("."))
FOLDERS = st.sampled_from(["", "d/", "d.e/", "./"])
NAMES = st.builds(
    lambda folder, stem, suffix: f"{folder}{stem}.{suffix}",
    FOLDERS,
    STEMS,
    st.sampled_from(["mp4", "JPG", "json", "txt", "cls", "npy"]),
)
MEDIA = ("mp4", "JPG")


def _is_media(name: str) -> bool:
    return name.endswith(MEDIA)


def _members(names: list[str]) -> list[Member]:
    return [Member(name=name, offset=at, size_bytes=1, present_bytes=1) for at, name in enumerate(names)]


def _stem(name: str) -> tuple[str, str]:
    folder, _, base = name.removeprefix("./").rpartition("/")
    return folder, base.rpartition(".")[0]


@given(st.lists(NAMES, max_size=12))
def test_every_media_member_is_an_item_once_and_in_order(names):
    items = arrange(_members(names))
    assert [item.member.name for item in items] == [name for name in names if _is_media(name)]
    assert [item.member.offset for item in items] == [n for n, name in enumerate(names) if _is_media(name)]
    seen: set[str] = set()
    for item in items:
        assert item.is_repeated == (item.member.name in seen)
        seen.add(item.member.name)


@given(st.lists(NAMES, max_size=12, unique=True), st.randoms())
def test_sidecars_meet_their_media_in_any_order(names, chance):
    def owners(order: list[str]):
        return {
            item.member.name: {(sidecar.member.name, sidecar.ending) for sidecar in item.sidecars}
            for item in arrange(_members(order))
        }

    shuffled = list(names)
    chance.shuffle(shuffled)
    found = owners(names)
    assert owners(shuffled) == found
    stems = {_stem(name) for name in names if _is_media(name)}
    for name in names:
        if _is_media(name):
            continue
        mine = {media for media, sidecars in found.items() if name in {sidecar for sidecar, _ in sidecars}}
        folder, stem = _stem(name)
        same = {media for media in found if _stem(media) == (folder, stem)}
        longer = [one for where, one in stems if where == folder and stem.startswith(f"{one}.")]
        shared = {m for m in found if _stem(m)[0] == folder and _stem(m)[1].startswith(f"{stem}.")}
        if same:
            assert mine == same
        elif longer:
            assert mine == {media for media in found if _stem(media) == (folder, max(longer, key=len))}
        else:
            assert mine == shared


@given(
    st.lists(st.sampled_from(["x", "x.1", "x.2", "y", "d/x"]), min_size=1, unique=True),
    st.randoms(),
)
def test_metadata_does_not_depend_on_where_sidecars_stand(stems, chance):
    contents = {f"{stem}.json": json.dumps({"stem": stem}).encode() for stem in stems}
    contents |= {f"{stem}.txt": f"text of {stem}".encode() for stem in stems}
    names = [*(f"{stem}.jpg" for stem in stems), *contents]
    chance.shuffle(names)
    for item in arrange(_members(names)):
        stem = item.member.name.removesuffix(".jpg")
        metadata, fault = item_metadata(None, item.sidecars, lambda sidecar: contents[sidecar.member.name])
        assert fault is None
        assert json.loads(metadata or "") == {"stem": stem, "caption": f"text of {stem}"}


@settings(max_examples=60)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=6), st.floats(0, 1))
def test_a_cut_anywhere_keeps_what_stands_before_it_and_is_told(members, share):
    with tempfile.TemporaryDirectory() as name:
        path = write_tar(Path(name) / "x.tar", members)
        whole = index_tar(str(path))
        assert whole.fault is None
        assert [member.name for member in whole.members] == [name for name, _ in members]
        size_bytes = max(1, int(path.stat().st_size * share))
        index = index_tar(str(cut(path, size_bytes)))
    for member, before in zip(index.members, whole.members, strict=False):
        assert (member.name, member.offset, member.size_bytes) == (
            before.name,
            before.offset,
            before.size_bytes,
        )
        assert member.present_bytes == min(member.size_bytes, max(0, size_bytes - member.offset))
    # A tar may lack padding behind its end mark, and nothing else.
    lost = [member for member in whole.members if member.offset + member.size_bytes > size_bytes]
    if lost or len(index.members) < len(members):
        assert index.fault is not None
        assert index.fault[0] is Reason.TRUNCATED
