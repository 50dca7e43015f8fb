"""Inception-v3 of 2015-12-05, the feature network of published FIDs, with clean-fid's resize.

The file is the TorchScript translation that clean-fid and StyleGAN2-ADA use. TorchScript is code,
so the file is loaded only if its digest is the declared one, and nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

INCEPTION_FILE = "inception-2015-12-05.pt"
MIRROR = "SLIMGEN_MIRROR"


@dataclass(frozen=True)
class InceptionFeatures:
    """The 2048 pooled activations; logits without the output's bias, as the score is defined on."""

    network: Any  # cleanfid's InceptionV3W
    device: torch.device
    sha256: str
    name: str = "inception"
    resize: str = "clean (PIL bicubic, 299)"

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits of images with 1 or 3 channels."""
        features = self.network(resize_clean(images).to(self.device)).float()
        logits = features @ self.network.base.output.weight.float().T
        return features.cpu(), logits.cpu()


def resize_clean(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images (n, c, h, w) as clean-fid resizes them: float (n, 3, 299, 299)."""
    from cleanfid.resize import build_resizer

    resize = build_resizer("clean")
    colour = images.cpu().expand(-1, 3, -1, -1) if images.shape[1] == 1 else images.cpu()
    arrays = colour.permute(0, 2, 3, 1).contiguous().numpy()  # (n, h, w, 3)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        resized = list(pool.map(resize, arrays))
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()


def find_inception(path: str | None) -> Path:
    """Return Inception's file: `path`, else in clean-fid's cache, else in a SLIMGEN_MIRROR folder.

    Raises ValueError where it is in none of these: compute jobs download nothing.
    """
    if path is not None:
        places = [Path(path).expanduser()]
    else:
        places = [Path(tempfile.gettempdir()) / INCEPTION_FILE]
        if os.environ.get(MIRROR):
            places.append(Path(os.environ[MIRROR]).expanduser() / INCEPTION_FILE)
    for place in places:
        if place.is_file():
            return place
    raise ValueError(
        f"Inception's file {INCEPTION_FILE} is not at {' nor at '.join(map(str, places))}; "
        "put it there or set inception_path (it is not downloaded here)"
    )


def load_inception(path: str | None, *, sha256: str, device: torch.device) -> InceptionFeatures:
    """Read Inception's TorchScript file once its digest is found right: loading it runs its code.

    Raises ValueError where the file is absent or another than declared.
    """
    file = find_inception(path)
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"{file}: its sha256 is {found}, not {sha256}; it is not loaded")
    from cleanfid.inception_torchscript import InceptionV3W

    # What was checked is what is loaded, even if the file is exchanged meanwhile.
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / INCEPTION_FILE).write_bytes(content)
        network = InceptionV3W(folder, download=False)
    return InceptionFeatures(network.to(device).eval(), device, sha256)
