import torch

from bsq_model.attention import KeyValueCache, block_causal_mask


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
    frames = [torch.randn(3, 4) for _ in range(9)]
    for capacity in (1, 2, 9):
        cache = KeyValueCache(capacity_frames=capacity)
        for count, frame in enumerate(frames, start=1):
            assert torch.equal(cache.append(frame), torch.cat(frames[:count]))
