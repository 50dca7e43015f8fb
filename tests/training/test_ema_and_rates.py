"""Closed forms of the average, of the learning-rate schedules and of an optimizer's step."""

import pytest
import torch
from torch import nn

from slimgen.config.base import Optimizer
from slimgen.training.ema import Ema
from slimgen.training.optimizers import learning_rate, make_optimizer, optimizer_step


def test_ema_of_a_constant_jump():
    module = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        module.weight.zero_()
    ema = Ema(module, decay=0.9)
    with torch.no_grad():
        module.weight.fill_(1.0)
    for step in range(20):
        ema.update(module, step)
    assert torch.allclose(ema.module.weight, torch.full((2, 3), 1 - 0.9**20), atol=1e-6)


def test_ema_warmup_is_one_plus_k_over_ten_plus_k():
    ema = Ema(nn.Linear(1, 1), decay=0.999, warmup=True)
    assert [ema.decay_at(k) for k in (0, 10)] == [1 / 10, 11 / 20]
    assert ema.decay_at(10**6) == 0.999


def test_ema_averages_or_copies_buffers():
    for average, expected in ((True, 0.1), (False, 1.0)):
        norm = nn.BatchNorm1d(2)
        ema = Ema(norm, decay=0.9, average_buffers=average)
        norm.running_mean.fill_(1.0)
        ema.update(norm, 0)
        assert torch.allclose(ema.module.running_mean, torch.full((2,), expected))
        assert ema.module.num_batches_tracked == norm.num_batches_tracked


@pytest.mark.parametrize(("decay", "last"), [("constant", 1.0), ("cosine", 0.0), ("linear", 0.0)])
def test_learning_rates(decay, last):
    settings = Optimizer(lr=2.0, warmup=10, decay=decay)
    rates = [learning_rate(settings, step, 110) / 2.0 for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[110] == pytest.approx(last, abs=1e-9)
    if decay != "constant":
        assert rates[60] == pytest.approx(0.5)


def step_with(gradient, *, step=0, steps=100, optimizer=None, weight=None, **settings):
    """Return (weight, optimizer, norm) after one step from 0 with a given gradient."""
    settings = Optimizer(**settings)
    weight = nn.Parameter(torch.zeros(len(gradient))) if weight is None else weight
    optimizer = optimizer or make_optimizer([weight], settings)
    weight.grad = torch.tensor(gradient)
    norm = optimizer_step(optimizer, settings, step=step, steps=steps)
    return weight, optimizer, norm


def test_adams_first_step_has_the_length_of_the_rate_of_that_step():
    for step, rate in ((0, 0.1), (4, 0.5), (9, 1.0), (60, 0.5)):
        weight, optimizer, norm = step_with(
            [3.0, -4.0], step=step, steps=110, lr=1.0, warmup=10, decay="linear"
        )
        assert torch.allclose(weight, torch.tensor([-rate, rate]), rtol=1e-5)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)
        assert weight.grad is None
        assert norm is None


def test_gradients_are_clipped_to_the_norm():
    """Seen where Adam does not hide it: its eps is as large as the clipped gradient."""
    weight, _, norm = step_with([3.0, -4.0], lr=1.0, clip_norm=0.5, eps=0.3)
    clipped = torch.tensor([0.3, -0.4])
    assert float(norm) == pytest.approx(5.0)
    assert torch.allclose(weight, -clipped / (clipped.abs() + 0.3), rtol=1e-4)
    small, _, _ = step_with([0.03, -0.04], lr=1.0, clip_norm=0.5, eps=0.3)
    kept = torch.tensor([0.03, -0.04])
    assert torch.allclose(small, -kept / (kept.abs() + 0.3), rtol=1e-4)


def test_settings_reach_the_optimizer():
    """Two steps in closed form: Adam's moments with the given betas; AdamW's decay of weights."""
    b1, b2, lr = 0.5, 0.75, 0.1
    weight, optimizer, _ = step_with([2.0], lr=lr, betas=(b1, b2))
    weight, _, _ = step_with(
        [-1.0], step=1, lr=lr, betas=(b1, b2), weight=weight, optimizer=optimizer
    )
    m = (b1 * (1 - b1) * 2.0 + (1 - b1) * -1.0) / (1 - b1**2)
    v = (b2 * (1 - b2) * 4.0 + (1 - b2) * 1.0) / (1 - b2**2)
    assert float(weight.detach()) == pytest.approx(-lr - lr * m / v**0.5, rel=1e-5)
    start = nn.Parameter(torch.tensor([5.0]))
    decayed, _, _ = step_with([1.0], lr=lr, name="adamw", weight_decay=0.2, weight=start)
    assert float(decayed.detach()) == pytest.approx(5.0 * (1 - lr * 0.2) - lr, rel=1e-5)
    kinds = {name: make_optimizer([start], Optimizer(name=name)) for name in ("adam", "radam")}
    assert (type(kinds["adam"]), type(kinds["radam"])) == (torch.optim.Adam, torch.optim.RAdam)


def test_half_precision_gradients_are_unscaled_before_they_are_clipped():
    weight = nn.Parameter(torch.zeros(2))
    settings = Optimizer(lr=1.0, clip_norm=0.5, eps=0.3)
    optimizer = make_optimizer([weight], settings)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale((weight * torch.tensor([3.0, -4.0])).sum()).backward()
    norm = optimizer_step(optimizer, settings, step=0, steps=10, scaler=scaler)
    clipped = torch.tensor([0.3, -0.4])
    assert float(norm) == pytest.approx(5.0)
    assert torch.allclose(weight, -clipped / (clipped.abs() + 0.3), rtol=1e-4)
