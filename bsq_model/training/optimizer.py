"""The optimizers of a module, and their state as named tensors."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bitmill.schemas.errors import FormatError
from bitmill.schemas.requests.training import OptimizerSpec

_RATE_SCALE = "rate_scale"


def make_optimizers(module: nn.Module, spec: OptimizerSpec) -> list[Optimizer]:
    """AdamW over everything, or Muon over the matrices inside transformer blocks and AdamW over the rest.

    Decay acts on the weights of linear and convolutional layers alone. Rates are set at each step.
    """
    hidden: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if spec.name == "muon" and ".blocks." in name and parameter.ndim == 2:
            hidden.append(parameter)
        elif parameter.ndim > 1 and not name.endswith("positions"):
            decayed.append(parameter)
        else:
            others.append(parameter)
    groups = [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizers: list[Optimizer] = [torch.optim.AdamW(groups, lr=0.0, betas=spec.betas, fused=True)]
    if hidden:
        # Scaled so that an update is as large as AdamW's, Muon takes a like rate (arXiv 2502.16982).
        group = {"params": hidden, _RATE_SCALE: spec.muon_scale}
        muon = torch.optim.Muon(
            [group], lr=0.0, weight_decay=spec.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    return optimizers


def step_all(optimizers: list[Optimizer], rate: float) -> None:
    """One update of all weights that have gradients, which are dropped after it."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get(_RATE_SCALE, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def optimizer_tensors(optimizers: list[Optimizer], module: nn.Module) -> dict[str, Tensor]:
    """Moments and step counts as ``exp_avg.<weight's name>`` and so on, of the weights that have any."""
    return {
        f"{key}.{name}": value.detach().clone()
        for name, parameter, optimizer in _owned(optimizers, module)
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(
    optimizers: list[Optimizer], module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """The inverse of ``optimizer_tensors``. Raises FormatError on a tensor that fits no weight."""
    by_weight: dict[str, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        key, _, name = full.partition(".")
        by_weight.setdefault(name, {})[key] = tensor
    for name, parameter, optimizer in _owned(optimizers, module):
        state = by_weight.pop(name, {})
        for key, tensor in state.items():
            if key != "step" and tensor.shape != parameter.shape:
                raise FormatError(f"the checkpoint's optimizer state {key} of {name} does not fit the model")
        if state:
            # Fused AdamW wants its count of steps on the weights' device, too.
            optimizer.state[parameter] = {
                key: tensor.to(parameter.device).clone() for key, tensor in state.items()
            }
    if by_weight:
        raise FormatError(f"the checkpoint's optimizer state of {min(by_weight)} belongs to no weight")


def _owned(optimizers: list[Optimizer], module: nn.Module) -> Iterator[tuple[str, nn.Parameter, Optimizer]]:
    """Each weight with the optimizer that moves it."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield names[parameter], parameter, optimizer
