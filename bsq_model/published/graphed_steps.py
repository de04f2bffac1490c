"""Steps of a published network over a row of tokens, on CUDA as graphs when their shapes repeat.

Axes: n frames of a chunk, H and W pixels, C = 3 colours, h and w of the token grid, L channels of the
latents.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from math import prod

from torch import Tensor, nn

from bitmill.bsq_model.acceleration.graphs import CudaGraphs
from bitmill.bsq_model.layers.past_frames import Past
from bitmill.bsq_model.published.networks import PublishedNetwork
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.cosmos_config import CosmosImageConfig
from bitmill.schemas.models.vidtok_config import VidTokConfig

_MOST_PIXELS = 256 * 256
"""Of frames that are worth a graph: larger ones take longer to compute than their kernels to launch, and a
graph keeps all of a step's intermediate results in memory."""

_Step = Callable[[Tensor, Past], Tensor]


class Steps:
    """Does with each row what the network does, and stands for it."""

    def __init__(
        self,
        config: PublishedConfig,
        network: PublishedNetwork,
        *,
        graphs: CudaGraphs | None = None,
        recorded_on: str = "cuda",
    ) -> None:
        self._network, self._token_px = network, prod(config.geometry.patch_px)
        # Others' steps differ: in Cosmos DV, attention to all earlier rows has another shape at each of them.
        is_recorded = isinstance(config, VidTokConfig | CosmosImageConfig)
        self._recorded_on = recorded_on if is_recorded else None
        self._graphs = graphs or CudaGraphs()
        self._kept: dict[Hashable, Sequence[nn.Module]] = {}

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the network."""
        return self._network.parameters()

    def latents(self, pixels_nHWC: Tensor, past: Past) -> Tensor:
        """Return a row's latents [1, h, w, L], and move ``past`` on."""
        num_pixels = pixels_nHWC.shape[1:3].numel()
        return self._run(self._network.latents, "latents", pixels_nHWC, past, num_pixels)

    def pixels(self, values_1hwL: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return the frames [n, H, W, C] that a row completes, and move ``past`` on.

        ``is_end`` if no row follows.
        """
        step, num_tokens = partial(self._network.pixels, is_end=is_end), values_1hwL.shape[1:3].numel()
        return self._run(step, ("pixels", is_end), values_1hwL, past, num_tokens * self._token_px)

    def forget_graphs(self) -> None:
        """To be called when the weights get other memory."""
        self._graphs.clear()

    def _run(self, step: _Step, kind: Hashable, x: Tensor, past: Past, num_pixels: int) -> Tensor:
        if x.device.type != self._recorded_on or num_pixels > _MOST_PIXELS:
            return step(x, past)
        is_start, modules = past.is_start, [*past.kept]
        kind = kind, is_start, *modules

        def infer(tensors: Sequence[Tensor]) -> list[Tensor]:
            """The step as a function of a row and of what modules keep, to both anew."""
            now, *kept = tensors
            moved = Past()
            moved.is_start, moved.kept = is_start, dict(zip(modules, kept, strict=True))
            y = step(now, moved)
            self._kept[kind] = [*moved.kept]
            return [y, *moved.kept.values()]

        reads = next(self.parameters())
        y, *kept = self._graphs.run(infer, [x, *past.kept.values()], reads=reads, kind=kind)
        past.kept = dict(zip(self._kept[kind], kept, strict=True))
        return y
