"""Splits: exact, disjoint, stratified, repeatable."""

from __future__ import annotations

import numpy as np
import pytest

from slimgen.data.errors import DataError
from slimgen.data.split import SPLITS, controlled_rounding, shuffled, split_indices

SIZES = {"search": 99, "validation": 99, "report": 600}


def random_labels(seed: int, n: int, classes: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice(classes, size=n, p=rng.dirichlet(np.ones(classes))).astype(np.int64)


def test_splits_cover_everything_once_with_exact_sizes():
    labels = random_labels(0, 1797, 10)
    parts = split_indices(labels, SIZES, seed=0)
    assert list(parts) == list(SPLITS)
    assert {name: len(part) for name, part in parts.items()} == {"train": 999} | SIZES
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(1797))


@pytest.mark.parametrize("seed", range(8))
def test_class_counts_are_within_one_of_proportional(seed):
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(60, 3000)), int(rng.integers(1, 40))
    labels = random_labels(seed, n, classes)
    sizes = {name: int(rng.integers(1, n // 4)) for name in SIZES}
    parts = split_indices(labels, sizes, seed=seed)
    for part in parts.values():
        for k in np.unique(labels):
            proportional = len(part) * np.mean(labels == k)
            assert abs(np.sum(labels[part] == k) - proportional) < 1


@pytest.mark.parametrize("seed", range(8))
def test_controlled_rounding_keeps_margins_and_stays_within_one(seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 50, size=int(rng.integers(1, 30)))
    columns = rng.multinomial(rows.sum(), rng.dirichlet(np.ones(4)))
    table = np.array(controlled_rounding(rows.tolist(), columns.tolist()))
    assert np.array_equal(table.sum(axis=1), rows)
    assert np.array_equal(table.sum(axis=0), columns)
    if rows.sum():
        assert np.abs(table - np.outer(rows, columns) / rows.sum()).max() < 1
    assert table.min() >= 0


def test_seed_alone_decides():
    labels = random_labels(1, 500, 5)
    sizes = {"search": 20, "validation": 20, "report": 100}
    first, again = (split_indices(labels, sizes, seed=3) for _ in range(2))
    other = split_indices(labels, sizes, seed=4)
    assert all(np.array_equal(first[name], again[name]) for name in SPLITS)
    assert set(first["report"]) != set(other["report"])


def test_shuffle_is_the_same_on_every_machine():
    assert shuffled(10, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]


def test_unlabelled_images_split_too():
    parts = split_indices(np.full(50, -1), {"search": 5, "validation": 5, "report": 10}, seed=0)
    assert len(parts["train"]) == 30


def test_report_comes_from_the_official_test_set_alone():
    labels = random_labels(2, 1000, 10)
    test = np.arange(1000) >= 800
    parts = split_indices(
        labels, {"search": 50, "validation": 50, "report": 150}, seed=0, test=test
    )
    assert test[parts["report"]].all()
    assert len(parts["report"]) == 150
    rest = np.concatenate([parts[name] for name in SPLITS if name != "report"])
    assert np.array_equal(np.sort(rest), np.arange(800))


def test_sizes_that_leave_no_train_split_are_refused_with_the_numbers():
    with pytest.raises(
        DataError, match=r"search 10 \+ validation 10 \+ report 80 = 100 leave no train split.*100"
    ):
        split_indices(np.zeros(100, int), {"search": 10, "validation": 10, "report": 80}, seed=0)


def test_report_larger_than_the_official_test_set_is_refused():
    with pytest.raises(DataError, match=r"report 30 = 30 are too many.*20 official test images"):
        split_indices(
            np.zeros(100, int),
            {"search": 10, "validation": 10, "report": 30},
            seed=0,
            test=np.arange(100) < 20,
        )
