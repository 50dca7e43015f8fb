"""Past generated images that a discriminator sees again (Shrivastava et al. 2017; CycleGAN).

Until the pool is full every image enters it and is returned. Then, with probability 1/2, an image
takes the place of a random one in the pool, which is returned for it; else it is itself returned.
"""

from __future__ import annotations

from typing import Any

import torch


class ImagePool:
    """At most `size` images (c, h, w); 0 returns every image as it is. Its state is resumable."""

    def __init__(self, size: int, shape: tuple[int, int, int]) -> None:
        self.images = torch.zeros(size, *shape)
        self.count = 0

    def exchange(self, images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Return images (n, c, h, w), some of them past ones; one after another as they come."""
        size = len(self.images)
        if size == 0:
            return images
        # The draws depend on the number of images alone, not on how full the pool is.
        keep = torch.rand(len(images), generator=rng, device=rng.device) < 0.5
        place = torch.randint(size, (len(images),), generator=rng, device=rng.device)
        shown = []
        for image, own, at in zip(images.detach(), keep.tolist(), place.tolist(), strict=True):
            if self.count < size:
                self.images[self.count] = image
                self.count += 1
                shown.append(image)
            elif own:
                shown.append(image)
            else:
                shown.append(self.images[at].to(image, copy=True))
                self.images[at] = image
        return torch.stack(shown)

    def state_dict(self) -> dict[str, Any]:
        """Return the images and how many there are."""
        return {"count": self.count, "images": self.images[: self.count]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the images."""
        self.count = state["count"]
        self.images[: self.count] = state["images"]
