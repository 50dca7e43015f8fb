"""Images into features: the PNG route, batch size, resume; pixel Gaussian, grid, latency."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from PIL import Image

from slimgen.data.dataset import to_uint8
from slimgen.evaluation import pixel_gaussian
from slimgen.evaluation.feature_network import features_of, open_feature_network
from slimgen.evaluation.fidelity import fidelity
from slimgen.evaluation.frechet import factor, fit_gaussian
from slimgen.evaluation.generation import stream
from slimgen.evaluation.grid import GAP, save_grid
from slimgen.evaluation.latency import WARM_UP, measure_latency
from slimgen.evaluation.pixel_gaussian import sample_pixel_gaussian
from slimgen.evaluation.reference import Reference
from slimgen.training.job import Job, Stopped
from slimgen.training.seeding import make_rng


def image(start: int, count: int) -> torch.Tensor:
    """Floats around [-1, 1], some beyond: image i depends on i alone."""
    noise = [
        torch.randn(1, 8, 8, generator=make_rng(0, i, "test")) for i in range(start, start + count)
    ]
    return 0.7 * torch.stack(noise)


@pytest.fixture
def network(classifier_folder):
    return open_feature_network(
        "classifier",
        classifier=classifier_folder,
        inception_path=None,
        inception_sha256="",
        device=torch.device("cpu"),
    )


@pytest.fixture
def job(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    return Job(stage="evaluation.measure", out=tmp_path / "out", state=state)


def run(job, network, batch_size=16, generate=image):
    return stream(
        job,
        generate,
        network,
        num_images=50,
        batch_size=batch_size,
        keep=9,
        partial=job.state / "partial.npz",
    )


def scores(features, logits, real):
    fit = fit_gaussian(real)
    reference = Reference(real, fit, factor(fit.cov), (1, 8, 8), 0.0, 1.0, "classifier", "")
    return fidelity(
        features,
        logits,
        reference,
        is_splits=2,
        kid_subsets=3,
        kid_subset_size=30,
        neighbours=3,
    )


def test_the_png_route_gives_the_same_numbers(job, network, grey_images, tmp_path):
    streamed = run(job, network)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, picture in enumerate(to_uint8(image(0, 50))):
        Image.fromarray(picture[0].numpy()).save(folder / f"{i:03}.png")
    read = np.stack([np.array(Image.open(path)) for path in sorted(folder.iterdir())])
    features, logits = features_of(network, torch.from_numpy(read)[:, None], batch_size=16)
    assert torch.equal(features, streamed.features)
    real, _ = features_of(network, grey_images, 60)
    assert scores(features, logits, real) == scores(streamed.features, streamed.logits, real)


def test_no_metric_depends_on_the_batch_size(job, network, grey_images):
    real, _ = features_of(network, grey_images, 60)
    whole = run(job, network, batch_size=50)
    expected = scores(whole.features, whole.logits, real)
    for batch_size in (1, 7):
        parts = run(job, network, batch_size)
        for name, score in scores(parts.features, parts.logits, real).items():
            assert score.value == pytest.approx(expected[name].value, rel=1e-4), name


def test_a_stopped_stream_goes_on_and_ends_the_same(job, network):
    whole = run(job, network)
    starts = []

    def watched(start, count):
        starts.append(start)
        if start == 16 and len(starts) == 2:
            job.signal_name = "SIGTERM"
        return image(start, count)

    with pytest.raises(Stopped):
        run(job, network, generate=watched)
    job.signal_name = None
    resumed = run(job, network, generate=watched)
    assert starts == [0, 16, 32, 48]
    assert torch.equal(resumed.features, whole.features)
    assert torch.equal(resumed.logits, whole.logits)
    assert torch.equal(resumed.shown, whole.shown)
    assert torch.equal(whole.shown, to_uint8(image(0, 9)))


@pytest.mark.parametrize("n", [40, 400])  # fewer images than the 64 pixels, and more
def test_the_pixel_gaussian_has_the_images_mean_and_covariance(n):
    rng = torch.Generator().manual_seed(2)
    coarse = torch.randn(n, 1, 2, 2, generator=rng)
    smooth = 128 + 20 * torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
    images = smooth.round().to(torch.uint8)
    drawn = torch.cat(list(sample_pixel_gaussian(images, num_images=20_000, seed=0)))
    assert drawn.shape == (20_000, 1, 8, 8)
    assert drawn.dtype == torch.uint8
    ours, theirs = fit_gaussian(drawn.flatten(1)), fit_gaussian(images.flatten(1))
    assert (ours.mean - theirs.mean).abs().max() < 1
    scale = theirs.cov.abs().max()
    assert (ours.cov - theirs.cov).abs().max() < 0.05 * scale


def test_the_pixel_gaussian_is_the_same_for_every_number_of_images(grey_images):
    few = torch.cat(list(sample_pixel_gaussian(grey_images, num_images=10, seed=3)))
    many = torch.cat(list(sample_pixel_gaussian(grey_images, num_images=300, seed=3)))
    assert torch.equal(few, many[:10])
    other = torch.cat(list(sample_pixel_gaussian(grey_images, num_images=10, seed=4)))
    assert not torch.equal(few, other)


def test_the_pixel_gaussian_does_not_depend_on_how_many_images_are_held_as_floats(monkeypatch):
    images = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(5))
    images = images.to(torch.uint8)
    whole = torch.cat(list(sample_pixel_gaussian(images, num_images=300, seed=0)))
    monkeypatch.setattr(pixel_gaussian, "CHUNK", 7 * 64)
    assert torch.equal(
        whole, torch.cat(list(sample_pixel_gaussian(images, num_images=300, seed=0)))
    )


def test_the_grid_holds_the_images_in_order(tmp_path, grey_images):
    save_grid(tmp_path / "grid.png", grey_images[:7], columns=3)
    grid = np.array(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (3 * (64 + GAP) + GAP, 3 * (64 + GAP) + GAP)
    for i in range(7):
        y, x = GAP + i // 3 * (64 + GAP), GAP + i % 3 * (64 + GAP)
        tile = grid[y : y + 64 : 8, x : x + 64 : 8]
        assert (tile == grey_images[i, 0].numpy()).all()
    assert (grid[-64:, -64:] == 255).all()  # no eighth image


def test_latency_has_a_spread():
    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return x.cos() * t[:, None, None, None]

    inputs = torch.randn(4, 1, 8, 8), torch.ones(4)
    found = measure_latency(Network(), inputs, repeats=9, device=torch.device("cpu"))
    assert found.median > 0
    assert found.spread > 0
    assert (found.batch, found.threads) == (4, torch.get_num_threads())


def test_the_first_evaluations_are_not_timed():
    calls = []

    def network(x, t):
        calls.append(x)
        if len(calls) <= WARM_UP:
            time.sleep(0.1)

    inputs = torch.randn(1, 1, 8, 8), torch.ones(1)
    found = measure_latency(network, inputs, repeats=3, device=torch.device("cpu"))
    assert len(calls) == WARM_UP + 3
    assert found.median < 25  # half of all evaluations took 100 ms
