"""The Frechet distance: closed forms, independent implementations, rank-deficient covariances."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import scipy
import scipy.linalg
import torch

from slimgen.evaluation.frechet import Gaussian, factor, fit_gaussian, frechet_distance

OLD_SCIPY = tuple(int(part) for part in scipy.__version__.split(".")[:2]) < (1, 18)


def features(n: int, d: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=rng) * torch.logspace(0, -2, d)
    return torch.randn(n, d, generator=rng) @ mixing + 0.3 * torch.randn(d, generator=rng)


def by_square_root(x: torch.Tensor, y: torch.Tensor) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2), the roots by scipy."""
    a, b = x.double().numpy(), y.double().numpy()
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s1).real
    cross = scipy.linalg.sqrtm(root @ s2 @ root).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * cross))


def by_nuclear_norm(x: torch.Tensor, y: torch.Tensor) -> float:
    """The same with tr (S1 S2)^1/2 = |Xc Yc^T|_* / sqrt((n - 1)(m - 1)): nothing is squared."""
    a, b = x.double().numpy(), y.double().numpy()
    a0, b0 = a - a.mean(0), b - b.mean(0)
    scale = ((len(a) - 1) * (len(b) - 1)) ** 0.5
    trace = np.linalg.svd(a0 @ b0.T, compute_uv=False).sum() / scale
    variances = a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + variances - 2 * trace)


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    return frechet_distance(fit_gaussian(x), fit_gaussian(y))


def test_a_set_is_at_distance_zero_from_itself():
    x = features(300, 24, seed=0)
    assert distance(x, x) == pytest.approx(0, abs=1e-9 * float(x.var(0).sum()))


def test_a_shift_costs_its_squared_length():
    x = features(300, 24, seed=1).double()
    shift = torch.linspace(-1, 2, 24, dtype=torch.float64)
    assert distance(x + shift, x) == pytest.approx(float(shift.square().sum()), rel=1e-9)


def test_commuting_covariances_have_a_closed_form():
    a, b = torch.tensor([4.0, 9.0, 1.0]).double(), torch.tensor([1.0, 25.0, 0.0]).double()
    one, two = (
        Gaussian(torch.zeros(3).double(), a.diag()),
        Gaussian(torch.ones(3).double(), b.diag()),
    )
    expected = 3 + float((a.sqrt() - b.sqrt()).square().sum())  # |m|^2 + sum (s1 - s2)^2
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(two, one) == pytest.approx(expected, rel=1e-12)


def test_equals_the_matrix_square_root():
    x, y = features(400, 32, seed=2), features(500, 32, seed=3)
    assert distance(x, y) == pytest.approx(by_square_root(x, y), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(20, 300), (300, 20), (20, 25)])
def test_rank_deficient_on_either_side_equals_the_nuclear_norm(n, m):
    x, y = features(n, 64, seed=4), features(m, 64, seed=5)
    assert distance(x, y) == pytest.approx(by_nuclear_norm(x, y), rel=1e-6)


@pytest.mark.skipif(not OLD_SCIPY, reason="clean-fid's own function breaks with scipy >= 1.18")
@pytest.mark.parametrize("n", [400, 40])
def test_equals_clean_fid(n):
    from cleanfid.fid import frechet_distance as cleanfid_distance

    x, y = features(n, 48, seed=6), features(500, 48, seed=7)
    one, two = fit_gaussian(x), fit_gaussian(y)
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        theirs = cleanfid_distance(
            one.mean.numpy(), one.cov.numpy(), two.mean.numpy(), two.cov.numpy()
        )
    # On a singular product clean-fid may add 1e-6 to both diagonals: that is its own error.
    tolerance = {"rel": 1e-6} if n > 48 else {"rel": 1e-5}
    assert frechet_distance(one, two) == pytest.approx(float(theirs), **tolerance)


def test_a_kept_factor_gives_the_same_number():
    x, y = fit_gaussian(features(100, 16, seed=8)), fit_gaussian(features(100, 16, seed=9))
    H = factor(y.cov)
    torch.testing.assert_close(H @ H.T, y.cov, rtol=1e-12, atol=1e-12)
    assert frechet_distance(x, y, H) == frechet_distance(x, y)


def test_statistics_are_numpys_whatever_the_chunk():
    x = features(257, 12, seed=10)
    for chunk in (1, 50, 1000):
        fit = fit_gaussian(x, chunk=chunk)
        np.testing.assert_allclose(fit.mean, x.double().numpy().mean(0), rtol=1e-12)
        np.testing.assert_allclose(
            fit.cov, np.cov(x.double().numpy(), rowvar=False), rtol=1e-10, atol=1e-14
        )


def test_scaling_the_features_scales_the_distance_by_the_square():
    x, y = features(200, 16, seed=11).double(), features(200, 16, seed=12).double()
    assert distance(3 * x, 3 * y) == pytest.approx(9 * distance(x, y), rel=1e-10)


def test_one_image_is_too_few():
    with pytest.raises(ValueError, match="at least 2"):
        fit_gaussian(torch.zeros(1, 4))
