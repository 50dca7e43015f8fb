"""One thread per test process: faster in parallel, and what makes results repeatable."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: the tests that run on SLURM wait more than they compute."""
    return (os.cpu_count() or 1) + 1
