"""What the workflow itself costs: start of the command line, status, dry run of the DAG.

python benchmarks/workflow_overhead.py    (median of five, seconds; results are left alone)
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PYTHON = sys.executable
COMMANDS = {
    "python -c pass": [PYTHON, "-c", "pass"],
    "slimgen check config/config.yaml": [PYTHON, "-m", "slimgen", "check", "config/config.yaml"],
    "slimgen status": [PYTHON, "-m", "slimgen", "status"],
    "dry run of the whole DAG": [PYTHON, "-m", "snakemake", "all", "-n", "--quiet", "all"],
    "import of torch (every stage pays it)": [PYTHON, "-c", "import torch"],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one start."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Print one line per command."""
    for name, command in COMMANDS.items():
        times = [seconds(command) for _ in range(5)]
        spread = f"(from {min(times):.2f} to {max(times):.2f})"
        print(f"{name:40} {statistics.median(times):6.2f} s  {spread}")


if __name__ == "__main__":
    main()
