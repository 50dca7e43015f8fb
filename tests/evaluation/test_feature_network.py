"""Feature networks: no effect of the batch size, damaged files named, Inception only if checked."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from slimgen.data.digit_pairs import double
from slimgen.evaluation.feature_network import features_of, open_feature_network
from slimgen.evaluation.inception import INCEPTION_FILE, load_inception

CPU = torch.device("cpu")


class TinyInception(nn.Module):
    """The outside of the real file: `layers` to (n, 2048, 1, 1) and `output` to 1008 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 9, stride=8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(16, 2048, 1),
        )
        self.output = nn.Linear(2048, 1008)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.layers(x).flatten(1)).softmax(1)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("inception") / "any-name.pt"
    torch.jit.save(torch.jit.script(TinyInception()), path)
    return path


def open_classifier(folder, pool=1):
    return open_feature_network(
        "classifier",
        classifier=folder,
        inception_path=None,
        inception_sha256="",
        device=CPU,
        pool=pool,
    )


def test_features_do_not_depend_on_the_batch(classifier_folder, grey_images):
    network = open_classifier(classifier_folder)
    features, logits = features_of(network, grey_images, batch_size=60)
    assert features.shape == (60, 12)
    assert logits.shape == (60, 4)
    for size in (1, 7):
        others = features_of(network, grey_images, batch_size=size)
        torch.testing.assert_close(others, (features, logits), rtol=1e-5, atol=1e-5)


def test_a_classifier_sees_larger_images_mean_pooled_and_not_rounded(
    classifier_folder, grey_images
):
    plain, pooling = open_classifier(classifier_folder), open_classifier(classifier_folder, 2)
    assert (plain.resize, pooling.resize) == ("none", "mean over 2x2 pixels, as floats")
    doubled = torch.from_numpy(double(grey_images.numpy()))  # whose 2x2 means are the originals
    assert doubled.shape == (60, 1, 16, 16)
    torch.testing.assert_close(pooling(doubled), plain(grey_images), rtol=1e-5, atol=1e-5)
    quarters = doubled.clone()
    quarters[:, :, ::2, ::2] = (quarters[:, :, ::2, ::2].int() + 1).clamp(max=255).byte()
    assert not torch.equal(pooling(quarters)[0], pooling(doubled)[0])  # a quarter of a level counts


def test_pooling_that_does_not_fit_is_named(classifier_folder, grey_images, inception_file):
    with pytest.raises(ValueError, match="pool = 3: it does not divide images of 8 x 8 pixels"):
        open_classifier(classifier_folder, 3)(grey_images)
    with pytest.raises(ValueError, match="pool = 2: Inception resizes images by itself"):
        open_feature_network(
            "inception",
            classifier=None,
            inception_path=str(inception_file),
            inception_sha256="",
            device=CPU,
            pool=2,
        )


def test_the_digest_is_of_the_weights(classifier_folder):
    weights = (classifier_folder / "model.safetensors").read_bytes()
    assert open_classifier(classifier_folder).sha256 == hashlib.sha256(weights).hexdigest()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "absent"])
def test_a_damaged_classifier_is_named(classifier_folder, tmp_path, name, damage):
    for file in classifier_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / name
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=name) as error:
        open_classifier(tmp_path)
    assert "\n" not in str(error.value)


def test_images_of_other_channels_are_refused(classifier_folder):
    with pytest.raises(ValueError, match="sees 1 channels, the images have 3"):
        open_classifier(classifier_folder)(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_absent_inception_is_one_line_that_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "cache"))
    monkeypatch.setenv("SLIMGEN_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(ValueError, match="not downloaded") as error:
        load_inception(None, sha256="0" * 64, device=CPU)
    message = str(error.value)
    assert "\n" not in message
    for place in (tmp_path / "cache" / INCEPTION_FILE, tmp_path / "mirror" / INCEPTION_FILE):
        assert str(place) in message


def test_another_file_than_declared_is_not_loaded(inception_file, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(ValueError, match="it is not loaded"):
        load_inception(str(inception_file), sha256="0" * 64, device=CPU)


def test_inception_equals_clean_fids_folder_route(inception_file, tmp_path, monkeypatch):
    from cleanfid.fid import get_folder_features
    from cleanfid.inception_torchscript import InceptionV3W

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, 20, 20), dtype=np.uint8)
    pictures, mirror = tmp_path / "pictures", tmp_path / "mirror"
    pictures.mkdir()
    mirror.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(pictures / f"{i}.png")
    (mirror / INCEPTION_FILE).write_bytes(inception_file.read_bytes())
    theirs = get_folder_features(
        str(pictures),
        InceptionV3W(str(mirror), download=False),
        num_workers=0,
        device=CPU,
        mode="clean",
        verbose=False,
    )
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("SLIMGEN_MIRROR", str(mirror))
    sha256 = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    network = load_inception(str(inception_file), sha256=sha256, device=CPU)
    features, logits = network(torch.from_numpy(images))
    assert features.shape == (5, 2048)
    np.testing.assert_allclose(features, theirs, rtol=1e-5, atol=1e-6)
    weight = network.network.base.output.weight.detach()
    torch.testing.assert_close(logits, features @ weight.T)


def test_grey_images_are_seen_as_grey_colour(inception_file, grey_images):
    sha256 = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    network = load_inception(str(inception_file), sha256=sha256, device=CPU)
    colour = grey_images[:2].expand(-1, 3, -1, -1)
    assert torch.equal(network(grey_images[:2])[0], network(colour)[0])
