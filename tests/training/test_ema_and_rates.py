"""Closed forms of the average and of the learning-rate schedules."""

import pytest
import torch
from torch import nn

from slimgen.config.base import Optimizer
from slimgen.training.ema import Ema
from slimgen.training.optimizers import learning_rate


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
