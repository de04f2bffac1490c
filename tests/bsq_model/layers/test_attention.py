import torch

from bitmill.bsq_model.layers.attention import KeyValueCache, block_causal_mask


def test_mask_lets_a_frame_see_itself_and_the_past() -> None:
    mask = block_causal_mask(num_frames=3, tokens_per_frame=2, device=torch.device("cpu"))
    assert mask.dtype == torch.bool
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
    ]


def test_cache_returns_all_that_was_appended_however_it_grew() -> None:
    frames = [torch.randn(2, 3, 4) for _ in range(9)]
    for capacity in (1, 2, 9):
        cache = KeyValueCache(capacity_frames=capacity)
        for count, frame in enumerate(frames, start=1):
            keys, values = cache.append(frame, -frame)
            assert torch.equal(keys, torch.cat(frames[:count], dim=1))
            assert torch.equal(values, -torch.cat(frames[:count], dim=1))


def test_a_cleared_cache_knows_nothing_of_what_it_held() -> None:
    cache = KeyValueCache(capacity_frames=2)
    cache.append(torch.ones(1, 3, 4), torch.ones(1, 3, 4))
    cache.clear()
    frame = torch.randn(1, 3, 4)
    keys, values = cache.append(frame, 2 * frame)
    assert torch.equal(keys, frame)
    assert torch.equal(values, 2 * frame)
