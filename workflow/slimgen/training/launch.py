"""`--gpus N`: start a stage in N processes with torchrun, and pass signals on to them.

This process waits: torchrun does not know SIGUSR1, and its own exit code does not say that the
stage saved its state and stopped. No torch is imported here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from slimgen.training.job import EXIT_STOPPED, STOP_SIGNALS

# The stages that take their share of a batch (`training.processes.share`); others use one GPU.
PARALLEL = ("teacher.train", "dbnas.supernet", "dbnas.student", "denoising_student.student")

SAVING_SECONDS = "3600"  # torchrun would kill what has not saved half a minute after a signal


def is_launched() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(argv: Sequence[str], gpus: int) -> int:
    """Run `python -m slimgen ARGV` in `gpus` processes; return the exit code.

    A stop signal reaches every process as SIGTERM; they save and stop, and 75 is returned.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(gpus), "-m", "slimgen", *argv]
    environment = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": SAVING_SECONDS} | os.environ
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    asked = False

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            child.send_signal(signal.SIGTERM)

    for number in STOP_SIGNALS:
        signal.signal(number, pass_on)
    code = child.wait()
    return EXIT_STOPPED if asked and code else code
