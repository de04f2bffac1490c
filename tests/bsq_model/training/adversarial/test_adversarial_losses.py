"""The game's losses against their formulas, and a discriminator that learns."""

import math

import pytest
import torch

from bitmill.bsq_model.training.adversarial.adversarial_losses import (
    discriminator_loss,
    generator_loss,
    r1_penalty,
)
from bitmill.bsq_model.training.adversarial.discriminator import Discriminator


def _discriminator(side: int = 32) -> Discriminator:
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Discriminator(side, base_channels=4, max_channels=16)


def _pictures(count: int, side: int, seed: int) -> torch.Tensor:
    return torch.rand(count, side, side, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_losses_are_those_of_the_formulas():
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.5, 0.0])
    real_terms = -torch.log(real.sigmoid())
    fake_terms = -torch.log(1 - fake.sigmoid())
    assert discriminator_loss(real, fake) == pytest.approx((real_terms.mean() + fake_terms.mean()).item())
    assert generator_loss(fake) == pytest.approx(-torch.log(fake.sigmoid()).mean().item())
    assert discriminator_loss(torch.zeros(3), torch.zeros(5)) == pytest.approx(2 * math.log(2))


def test_losses_of_sure_logits_are_finite():
    sure = torch.tensor([200.0])
    assert discriminator_loss(-sure, sure) == pytest.approx(400)
    assert generator_loss(-sure) == pytest.approx(200)


def test_r1_of_a_known_function():
    pixels = _pictures(3, 2, 0).requires_grad_(True)
    weight = torch.tensor(1.5, requires_grad=True)
    logits = weight * pixels.square().flatten(1).sum(1)
    penalty = r1_penalty(logits, pixels)
    # The gradient is 2·w·x: the penalty 2·w²·E‖x‖², its derivative by w 4·w·E‖x‖².
    energy = pixels.square().flatten(1).sum(1).mean().item()
    assert penalty.item() == pytest.approx(2 * 1.5**2 * energy, rel=1e-5)
    penalty.backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(4 * 1.5 * energy, rel=1e-5)


def test_r1_counts_frames_by_their_weights():
    frames = _pictures(4, 2, 0).view(2, 2, 2, 2, 3)
    weights = torch.tensor([1.0, 1.0, 2.0, 0.0])

    def penalty(weights_B: torch.Tensor | None) -> float:
        pixels = frames.clone().requires_grad_(True)
        return r1_penalty(pixels.square().flatten(2).sum(2).flatten(), pixels, weights_B).item()

    energies = frames.square().flatten(2).sum(2).flatten()
    assert penalty(weights) == pytest.approx(2 * (energies * weights).mean().item(), rel=1e-5)
    assert penalty(torch.ones(4)) == penalty(None)


def test_r1_of_the_discriminator_against_finite_differences():
    network = _discriminator(16).double()
    pixels = _pictures(4, 16, 1).double()

    def penalty() -> torch.Tensor:
        leaf = pixels.clone().requires_grad_(True)
        return r1_penalty(network(leaf), leaf)

    # Along one direction of the pixels the logits' sum changes as the gradient says ...
    leaf = pixels.clone().requires_grad_(True)
    network(leaf).sum().backward()
    assert leaf.grad is not None
    half_square = leaf.grad.square().flatten(1).sum(1).mean() / 2
    assert penalty().item() == pytest.approx(half_square.item(), rel=1e-5)
    # ... and the penalty's own gradient holds for a weight inside the blocks.
    network.zero_grad()
    weight = network.get_parameter("blocks.0.second.weight")
    penalty().backward()
    assert weight.grad is not None
    direction = weight.grad / weight.grad.norm()
    found = []
    with torch.no_grad():
        original = weight.clone()
    for sign in (1, -1):
        with torch.no_grad():
            weight.copy_(original + sign * 1e-4 * direction)
        found.append(penalty().item())
    assert (found[0] - found[1]) / 2e-4 == pytest.approx(weight.grad.norm().item(), rel=1e-3)


@pytest.mark.parametrize("side", [4, 5, 32, 40, 54])
def test_any_side_gives_one_logit_a_picture_that_every_pixel_moves(side):
    network = _discriminator(side)
    pixels = _pictures(3, side, 2).requires_grad_(True)
    logits = network(pixels)
    assert logits.shape == (3,)
    logits[0].backward()
    assert pixels.grad is not None
    assert bool((pixels.grad[0].abs().sum(-1) > 0).all())


def test_frames_too_small_are_refused():
    with pytest.raises(ValueError, match="4 pixels or more"):
        Discriminator(3)


def test_minibatch_statistics_see_a_lack_of_variety():
    network = _discriminator()
    varied = _pictures(4, 32, 3)
    copies = varied[:1].expand(4, -1, -1, -1)
    alone = network(varied[:1])
    assert torch.allclose(network(copies), alone.expand(4), atol=1e-5)
    assert not torch.allclose(network(varied)[:1], alone, atol=1e-4)


def test_a_few_steps_separate_smooth_pictures_from_rough_ones():
    network = _discriminator()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.0, 0.99))
    for step in range(30):
        rough = _pictures(8, 32, 10 + step)
        smooth = rough.mean((1, 2), keepdim=True).expand_as(rough) * 8
        loss = discriminator_loss(network(smooth), network(rough))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rough = _pictures(8, 32, 1000)
    smooth = rough.mean((1, 2), keepdim=True).expand_as(rough) * 8
    assert network(smooth).min() > network(rough).max()
