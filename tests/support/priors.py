"""Small stand-ins for a prior: a recurrent network with random weights, and logits that a test chooses."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bitmill.bsq_model.coding.prior_numerics import numerics
from bitmill.bsq_model.coding.symbol_model import CodingModel, QuantizedLogits
from bitmill.pipeline.compressing.clip_streams import LoadedPrior
from bitmill.schemas.stream.stream_header import PriorMark


class RandomNetwork(nn.Module):
    """A GRU over the groups coded so far; ``sharpness`` brings probabilities near 0 and 1."""

    def __init__(self, group_bits: int, *, sharpness: float = 3.0, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.num_values = 1 << group_bits
        self.embed = nn.Embedding(self.num_values + 1, 16)
        self.cell = nn.GRUCell(16, 16)
        self.head = nn.Linear(16, self.num_values)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.sharpness = sharpness


class RandomStepper:
    """A LogitStepper."""

    def __init__(self, network: RandomNetwork, lanes: int) -> None:
        self._network = network
        self._state = torch.zeros(lanes, 16)
        self._last = torch.full((lanes,), network.num_values)

    @torch.inference_mode()
    def next_logits(self) -> Tensor:
        self._state = self._network.cell(self._network.embed(self._last), self._state)
        return self._network.head(self._state) * self._network.sharpness

    def push(self, indices_B: Tensor) -> None:
        self._last = indices_B


class GivenLogits:
    """A LogitStepper whose logits do not depend on what is pushed: [S, B, K]."""

    def __init__(self, logits_SBK: Tensor) -> None:
        self._left = list(logits_SBK)

    def next_logits(self) -> Tensor:
        return self._left[0]

    def push(self, indices_B: Tensor) -> None:
        del self._left[0]


class Recorder:
    """A LogitStepper that sums the cross-entropy of what is pushed, in bits, in float64, a lane each."""

    def __init__(self, stepper: RandomStepper, lanes: int) -> None:
        self._stepper = stepper
        self.bits_B = torch.zeros(lanes, dtype=torch.float64)

    def next_logits(self) -> Tensor:
        self._logits = self._stepper.next_logits()
        return self._logits

    def push(self, indices_B: Tensor) -> None:
        log2 = self._logits.double().log_softmax(1) / torch.log(torch.tensor(2.0, dtype=torch.float64))
        self.bits_B -= log2.gather(1, indices_B[:, None])[:, 0]
        self._stepper.push(indices_B)


def random_model(
    group_bits: int,
    *,
    sharpness: float = 3.0,
    seed: int = 0,
    watch: Callable[[Recorder], None] = lambda _: None,
) -> CodingModel:
    """A coding model of random weights; ``watch`` is told of each stepper that starts."""
    network = RandomNetwork(group_bits, sharpness=sharpness, seed=seed)

    def start(lanes: int, height: int, width: int) -> QuantizedLogits:
        recorder = Recorder(RandomStepper(network, lanes), lanes)
        watch(recorder)
        return QuantizedLogits(recorder)

    return CodingModel(group_bits=group_bits, start=start)


def given_model(group_bits: int, logits_SBK: Tensor) -> CodingModel:
    """A coding model of logits that stand fixed."""
    return CodingModel(group_bits=group_bits, start=lambda *_: QuantizedLogits(GivenLogits(logits_SBK)))


def random_prior(
    tokenizer_fingerprint: str, group_bits: int = 6, *, seed: int = 0, sharpness: float = 3.0
) -> LoadedPrior:
    """A prior for tokens of a tokenizer."""
    mark = PriorMark(fingerprint=f"{seed:032x}", numerics=numerics())
    model = random_model(group_bits, seed=seed, sharpness=sharpness)
    return LoadedPrior(model=model, mark=mark, tokenizer_fingerprint=tokenizer_fingerprint)


def sampled_indices(probabilities: Sequence[float], count: int, seed: int) -> list[int]:
    """Draws from a distribution."""
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(torch.tensor(probabilities), count, True, generator=generator).tolist()
