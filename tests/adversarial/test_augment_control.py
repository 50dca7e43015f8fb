"""The controller of the augmentation probability: arithmetic of act.md 2, restored state."""

import pytest

from slimgen.adversarial.augment_control import AugmentControl, augment_step


def test_step_of_the_released_cifar_settings():
    # 160 images a step, R1 every 16 steps, 500,000 images: 0.00512, so 0 to 1 in 196 updates.
    assert augment_step(images_per_step=160, interval=16, ada_length=500_000) == pytest.approx(
        0.00512
    )


def test_p_moves_by_delta_towards_the_side_of_the_average():
    control = AugmentControl(tau=1.0, delta=0.3, decay=0.5, p_max=1.0)
    assert (control.p, control.r1_average) == (0.0, 1.0)
    seen = []
    for r1 in (3.0, 3.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        control.update(r1)
        seen.append((round(control.p, 6), round(control.r1_average, 6)))
    assert seen[:4] == [(0.3, 2.0), (0.6, 2.5), (0.9, 2.75), (1.0, 2.875)]
    assert seen[4:7] == [(1.0, 1.4375), (0.7, 0.71875), (0.4, 0.359375)]
    assert seen[-1][0] == 0.0  # clipped at the bottom
    assert control.largest_p == 1.0


def test_an_average_at_tau_does_not_raise_p():
    control = AugmentControl(tau=10_000.0, delta=0.1, decay=0.93, p_max=1.0)
    for _ in range(50):
        control.update(10_000.0 * (1 - 1e-9))
    assert control.largest_p == 0.0


def test_p_max_bounds_and_state_survives():
    control = AugmentControl(tau=0.1, delta=0.4, decay=0.9, p_max=0.6)
    for _ in range(3):
        control.update(5.0)
    assert control.p == 0.6
    twin = AugmentControl(tau=0.1, delta=0.4, decay=0.9, p_max=0.6)
    twin.load_state_dict(control.state_dict())
    control.update(2.0)
    twin.update(2.0)
    assert twin.state_dict() == control.state_dict()
