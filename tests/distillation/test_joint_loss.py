"""The weights of the dynamic joint loss, in closed form."""

import pytest

from slimgen.distillation.joint_loss import beta_at, weights

K = 200


def test_linear_reaches_one_at_half_time():
    betas = [beta_at("linear", step, K) for step in range(K)]
    assert betas[0] == 0.0
    assert betas[50] == 0.5
    assert betas[100:] == [1.0] * 100
    assert betas[:100] == pytest.approx([step / 100 for step in range(100)])
    # the distillation term's share of the training: sum of (1 - step / 100) = 50.5 steps
    assert sum(1 - beta for beta in betas) == pytest.approx(50.5)


@pytest.mark.parametrize("steps", [2, 7, 200])
def test_step_switches_at_half_time(steps):
    betas = [beta_at("step", step, steps) for step in range(steps)]
    assert betas == [0.0 if 2 * step < steps else 1.0 for step in range(steps)]


def test_fixed_and_without_distillation():
    assert {beta_at("fixed", step, K) for step in range(K)} == {0.5}
    assert {beta_at("fixed", step, K, 0.2) for step in range(K)} == {0.2}
    assert {beta_at("no_dis", step, K, 0.2) for step in range(K)} == {1.0}


def test_weights():
    assert weights(1.0, 0.25) == (0.75, 0.25)
    assert weights(4.0, 0.25) == (3.0, 0.25)
    assert weights(0.0, 0.0) == (0.0, 0.0)
