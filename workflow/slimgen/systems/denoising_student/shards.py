"""Files of noise-image pairs: written whole, read through memory maps.

A file holds `z` float16 and `x0` uint8, both (n, c, h, w), uncompressed. The 1,024,000 pairs of
CIFAR-10 are 9.4 GB: the system's page cache holds what fits, and any order of reading stays exact.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from slimgen.data.dataset import normalize
from slimgen.data.files import atomic_path

SHARDS = "shard-*.npz"


def write_pairs(path: Path, *, z: np.ndarray, x0: np.ndarray) -> None:
    """Write one file of pairs; equal arrays give equal bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, z=z, x0=x0)


def map_array(path: Path, name: str) -> np.ndarray:
    """Map an uncompressed array of an .npz file into memory, without reading it.

    Raises ValueError naming the file where it is damaged or holds no such array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError("it is compressed")
            # A stored member lies behind its local header: 30 bytes, then name and extra field.
            with path.open("rb") as file:
                file.seek(member.header_offset + 26)
                sizes = np.frombuffer(file.read(4), dtype="<u2")
                file.seek(member.header_offset + 30 + int(sizes.sum()))
                np.lib.format.read_magic(file)
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                offset = file.tell()
        if fortran:
            raise ValueError("it is in Fortran order")
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: array {name!r} cannot be read ({error})") from None


class PairFiles:
    """Pairs in one or more files, memory-mapped: any size, any order, no copy in memory.

    `z` float16 and `x0` uint8, both (n, c, h, w). Raises ValueError for a damaged file.
    """

    def __init__(self, paths: list[Path]) -> None:
        if not paths:
            raise ValueError("no pair files")
        self.z = [map_array(path, "z") for path in paths]
        self.x0 = [map_array(path, "x0") for path in paths]
        for path, z, x0 in zip(paths, self.z, self.x0, strict=True):
            if z.shape != x0.shape or z.shape[1:] != self.z[0].shape[1:]:
                raise ValueError(f"{path}: z has shape {z.shape} and x0 has shape {x0.shape}")
            if (z.dtype, x0.dtype) != (np.float16, np.uint8):
                raise ValueError(f"{path}: z is {z.dtype} and x0 {x0.dtype}; not float16 and uint8")
        self.ends = np.cumsum([len(z) for z in self.z])

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        c, h, w = self.z[0].shape[1:]
        return c, h, w

    def batch(
        self, indices: torch.Tensor, device: torch.device | str = "cpu"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return noise z and the teacher's images in [-1, 1], both float32 (n, c, h, w)."""
        wanted = indices.numpy()
        file = np.searchsorted(self.ends, wanted, side="right")
        z = np.empty((len(wanted), *self.shape), dtype=np.float16)
        x0 = np.empty((len(wanted), *self.shape), dtype=np.uint8)
        for i in np.unique(file):
            here = file == i
            rows = wanted[here] - (self.ends[i] - len(self.z[i]))
            z[here], x0[here] = self.z[i][rows], self.x0[i][rows]
        return (
            torch.from_numpy(z).to(device).float(),
            normalize(torch.from_numpy(x0).to(device)),
        )
