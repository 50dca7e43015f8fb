"""Inception score, KID, precision and recall, q: closed forms, another implementation, laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimgen.evaluation.fidelity import (
    fidelity,
    inception_score,
    kernel_distance,
    precision_recall,
    quality,
)
from slimgen.evaluation.frechet import factor, fit_gaussian, frechet_distance
from slimgen.evaluation.reference import Reference, load_reference, save_reference


def gaussian(n: int, d: int, seed: int, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + mean


def reference_of(features: torch.Tensor, floor: float, gauss: float) -> Reference:
    fit = fit_gaussian(features)
    return Reference(
        features, fit, factor(fit.cov), (1, 8, 8), floor, gauss, "classifier", "0" * 64, pool=2
    )


def all_scores(features, logits, reference):
    return fidelity(
        features,
        logits,
        reference,
        is_splits=4,
        kid_subsets=5,
        kid_subset_size=60,
        neighbours=3,
    )


def test_uniform_predictions_score_one():
    score = inception_score(torch.zeros(100, 7), splits=5)
    assert score.value == pytest.approx(1, abs=1e-12)
    assert score.spread == pytest.approx(0, abs=1e-12)


def test_sure_and_balanced_predictions_score_the_number_of_classes():
    logits = 1000 * torch.eye(10).repeat(30, 1)
    assert inception_score(logits, splits=1).value == pytest.approx(10, rel=1e-9)


def test_one_sure_class_scores_one():
    logits = torch.zeros(60, 10)
    logits[:, 3] = 1000.0
    assert inception_score(logits, splits=3).value == pytest.approx(1, abs=1e-9)


def test_score_equals_its_definition():
    logits = gaussian(90, 5, seed=0)
    p = logits.double().softmax(1)
    expected = (p * (p / p.mean(0)).log()).sum(1).mean().exp()
    assert inception_score(logits, splits=1).value == pytest.approx(float(expected), rel=1e-9)


def test_images_are_shuffled_into_splits_each_of_which_is_scored():
    sorted_by_class = 1000 * torch.eye(4).repeat_interleave(50, 0)
    score = inception_score(sorted_by_class, splits=4)
    assert 3.5 < score.value < 4  # unshuffled, each split would hold one class and score 1
    assert score.spread > 0
    assert inception_score(sorted_by_class, splits=1).spread == 0


def test_more_splits_than_images_is_refused():
    with pytest.raises(ValueError, match="3 images cannot be divided into 5 splits"):
        inception_score(torch.zeros(3, 2), splits=5)


def test_kid_equals_clean_fid():
    from cleanfid.fid import kernel_distance as cleanfid_kid

    x, y = gaussian(80, 16, seed=1), gaussian(80, 16, seed=2, mean=0.3)
    theirs = cleanfid_kid(x.double().numpy(), y.double().numpy(), num_subsets=1, max_subset_size=80)
    ours = kernel_distance(x, y, subsets=1, subset_size=1000)  # all images: order does not count
    assert ours.value == pytest.approx(theirs, rel=1e-9)


def test_kid_is_repeatable():
    x, y = gaussian(50, 8, seed=3), gaussian(70, 8, seed=4)
    first = kernel_distance(x, y, subsets=7, subset_size=20)
    np.random.random()  # the global state of numpy does not count
    assert kernel_distance(x, y, subsets=7, subset_size=20) == first


def test_precision_is_of_the_generated_images_and_recall_of_the_real_ones():
    one_mode = gaussian(100, 4, seed=5)
    two_modes = torch.cat([gaussian(100, 4, seed=6), gaussian(100, 4, seed=7, mean=50)])
    precision, recall = precision_recall(one_mode, two_modes, neighbours=3)
    assert precision > 0.8
    assert 0.3 < recall < 0.5  # the far mode is never reached
    precision, recall = precision_recall(two_modes, one_mode, neighbours=3)
    assert precision < 0.5
    assert recall > 0.8


def test_the_scores_of_images_are_against_the_reference_and_not_the_reverse():
    one_mode = gaussian(100, 4, seed=5)
    two_modes = torch.cat([gaussian(100, 4, seed=6), gaussian(100, 4, seed=7, mean=50)])
    scores = all_scores(one_mode, one_mode, reference_of(two_modes, 0.0, 1.0))
    assert scores["precision"].value > 0.8
    assert scores["recall"].value < 0.5
    expected = frechet_distance(fit_gaussian(one_mode), fit_gaussian(two_modes))
    assert scores["fid"].value == pytest.approx(expected, rel=1e-9)


def test_a_set_has_full_precision_and_recall_against_itself():
    x = gaussian(40, 6, seed=8)
    assert precision_recall(x, x, neighbours=3) == (1, 1)


def test_too_few_neighbours_are_refused():
    with pytest.raises(ValueError, match="3 images have no neighbour number 3"):
        precision_recall(gaussian(3, 2, seed=0), gaussian(9, 2, seed=1), neighbours=3)


def test_q_is_zero_at_the_floor_and_one_at_the_gaussian():
    assert quality(0.5, floor=0.5, gauss=8) == 0
    assert quality(8, floor=0.5, gauss=8) == 1
    with pytest.raises(ValueError, match="not above the floor"):
        quality(1, floor=2, gauss=2)


def test_q_does_not_change_when_the_features_are_scaled():
    x, real, train, gauss = (
        gaussian(150, 12, seed=s, mean=m).double() for s, m in enumerate([0.3, 0, 0, 1])
    )

    def q(scale: float) -> float:
        against = reference_of(scale * real, 0.0, 1.0)
        floor, far = (all_scores(scale * f, x, against)["fid"].value for f in (train, gauss))
        return all_scores(scale * x, x, reference_of(scale * real, floor, far))["q"].value

    assert q(3.0) == pytest.approx(q(1.0), rel=1e-9)
    assert 0 < q(1.0) < 1


def test_a_reference_survives_its_file(tmp_path):
    reference = reference_of(gaussian(30, 5, seed=9), 0.25, 4.5)
    save_reference(tmp_path / "reference.npz", reference)
    for path in (tmp_path, tmp_path / "reference.npz"):
        read = load_reference(path)
        assert (read.floor, read.gauss, read.shape) == (0.25, 4.5, (1, 8, 8))
        assert (read.network, read.network_sha256, read.pool) == ("classifier", "0" * 64, 2)
        assert torch.equal(read.features, reference.features)
        assert torch.equal(read.gaussian.cov, reference.gaussian.cov)
        assert torch.equal(read.factor, reference.factor)


@pytest.mark.parametrize("damage", ["truncated", "absent", "other"])
def test_a_damaged_reference_is_named(tmp_path, damage):
    path = tmp_path / "reference.npz"
    save_reference(path, reference_of(gaussian(30, 5, seed=9), 0.25, 4.5))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "absent":
        path.unlink()
    else:
        np.savez(path, mean=np.zeros(3))
    with pytest.raises(ValueError, match=r"reference\.npz: not a reference that can be read"):
        load_reference(path)
