"""The promise on CPU, in every bit: a frame's result depends on no later frame and on no neighbour."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitmill.bsq_model import BSQTokenizer, make_preset
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from tests.bsq_model.small import SMALL, WIDER, random_clip, random_tokenizer

MAKERS: list[Callable[[], BSQTokenizer]] = [
    random_tokenizer,
    lambda: random_tokenizer(WIDER),
    lambda: make_preset("tiny"),
    lambda: random_tokenizer(WIDER).to(torch.bfloat16),
]


@pytest.fixture(params=MAKERS, ids=["small", "wider", "tiny", "wider-bfloat16"])
def tokenizer(request: pytest.FixtureRequest) -> BSQTokenizer:
    return request.param()


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _clip(config: TokenizerConfig, num_frames: int = 4, seed: int = 0) -> torch.Tensor:
    return random_clip(num_frames, config, seed)


def test_a_prefix_has_the_prefixs_latents(tokenizer: BSQTokenizer) -> None:
    clip = _clip(tokenizer.config)
    whole = tokenizer.latents([clip])[0]
    for k in (1, 2, 3):
        assert torch.equal(whole[:k], tokenizer.latents([clip[:k]])[0])


def test_a_later_frame_changes_nothing_before_it(tokenizer: BSQTokenizer) -> None:
    clip = _clip(tokenizer.config)
    changed = clip.clone()
    changed[2] = 255 - changed[2]
    before, after = (tokenizer.latents([c])[0] for c in (clip, changed))
    assert torch.equal(before[:2], after[:2])
    assert not torch.equal(before[2], after[2])
    # The past is not merely ignored: the frame after the changed one sees it.
    assert not torch.equal(before[3], after[3])


def test_a_clip_does_not_depend_on_its_batch(tokenizer: BSQTokenizer) -> None:
    clips = [_clip(tokenizer.config, n, seed=n) for n in (1, 4, 2, 1)]
    together = tokenizer.latents(clips)
    alone = [tokenizer.latents([clip])[0] for clip in clips]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    bits = tokenizer.encode(clips)
    decoded = tokenizer.decode(bits)
    assert all(torch.equal(a, tokenizer.decode([b])[0]) for a, b in zip(decoded, bits, strict=True))


def test_streaming_equals_the_whole_clip(tokenizer: BSQTokenizer) -> None:
    clip = _clip(tokenizer.config)
    bits = tokenizer.encode([clip])[0]
    encoder, decoder = tokenizer.stream_encoder(), tokenizer.stream_decoder()
    assert torch.equal(
        torch.cat([encoder.push(clip[:1]), encoder.push(clip[1:3]), encoder.push(clip[3:])]), bits
    )
    pixels = torch.cat([decoder.push(bits[:2]), decoder.push(bits[2:])])
    assert torch.equal(pixels, tokenizer.decode([bits])[0])


def test_two_streams_do_not_disturb_each_other() -> None:
    tokenizer = random_tokenizer()
    clips = [_clip(SMALL, 3, seed) for seed in (0, 1)]
    streams = [tokenizer.stream_encoder() for _ in clips]
    bits = [[s.push(c[t : t + 1])[0] for s, c in zip(streams, clips, strict=True)] for t in range(3)]
    for i, expected in enumerate(tokenizer.encode(clips)):
        assert torch.equal(torch.stack([frame[i] for frame in bits]), expected)


def test_a_stream_ends_at_the_last_position() -> None:
    tokenizer = random_tokenizer()
    encoder, decoder = tokenizer.stream_encoder(), tokenizer.stream_decoder()
    for frame in random_clip(5):
        decoder.push(encoder.push(frame[None]))
    with pytest.raises(ValueError, match="already had 5 frames"):
        encoder.push(random_clip(1))
    with pytest.raises(ValueError, match="already had 5 frames"):
        decoder.push(torch.zeros(1, 3, 3, 18, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"shape \[T, 24, 24, 3\]"):
        tokenizer.stream_encoder().push(torch.zeros(1, 8, 8, 3, dtype=torch.uint8))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    cut=st.integers(1, 5),
    threads=st.integers(1, 2),
)
def test_prefixes_and_batches_together(lengths: list[int], cut: int, threads: int) -> None:
    # Not across thread counts: on CPUs without AVX-512 these change the rounding (docs/model.md).
    torch.set_num_threads(threads)
    tokenizer = random_tokenizer()
    clips = [random_clip(length, seed=i) for i, length in enumerate(lengths)]
    whole = tokenizer.latents(clips)
    short = tokenizer.latents([clip[:cut] for clip in reversed(clips)])
    for v, prefix in zip(whole, reversed(short), strict=True):
        assert torch.equal(v[:cut], prefix)


def test_memory_layout_of_the_clip_does_not_matter(tokenizer: BSQTokenizer) -> None:
    clip = _clip(tokenizer.config, 2)
    channels_first = clip.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not channels_first.is_contiguous()
    assert torch.equal(tokenizer.latents([clip])[0], tokenizer.latents([channels_first])[0])


def test_on_cpu_every_linear_layer_sees_exactly_one_frame() -> None:
    """What the promise rests on, also where this machine's products happen not to depend on their shape."""
    tokenizer = random_tokenizer()
    rows: set[int] = set()

    def record(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows.add(inputs[0].shape[:-1].numel())

    for module in tokenizer.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(record)
    tokenizer.decode(tokenizer.encode([random_clip(4), random_clip(1), random_clip(2)]))
    assert rows == {SMALL.tokens_per_frame}
