"""Batches are whole shuffled epochs, and a function of (seed, step) alone."""

import torch

from slimgen.training.seeding import batch_indices, derive_seed, make_rng


def test_every_item_comes_once_per_epoch():
    order = torch.cat([batch_indices(10, 4, step, seed=1) for step in range(15)])
    for epoch in order.reshape(6, 10):
        assert sorted(epoch.tolist()) == list(range(10))


def test_the_order_is_new_in_every_epoch_and_for_every_seed_and_stream():
    def epoch(number, seed=1, stream="data"):
        return tuple(batch_indices(50, 50, number, seed, stream).tolist())

    orders = [epoch(0), epoch(1), epoch(2), epoch(0, seed=2), epoch(0, stream="other")]
    assert len(set(orders)) == 5
    assert tuple(range(50)) not in orders
    assert epoch(1) == orders[1]


def test_batches_larger_than_the_data_span_epochs():
    batch = batch_indices(10, 25, 0, seed=1)
    assert torch.bincount(batch, minlength=10).tolist().count(3) == 5
    assert len(batch) == 25


def test_depends_on_seed_step_and_stream_only():
    assert derive_seed(1, 2, "a") == derive_seed(1, 2, "a")
    seeds = {derive_seed(s, k, n) for s in range(5) for k in range(5) for n in ("a", "b")}
    assert len(seeds) == 50
    draws = [torch.randn(3, generator=make_rng(0, 5, "update")) for _ in range(2)]
    assert torch.equal(*draws)
