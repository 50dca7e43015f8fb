"""Put into a checkout as `sitecustomize.py`: a training halts itself where a test asked for it.

The test makes `halt/seed{s}` (`order`). That seed's training takes the file away and halts
(SIGSTOP) while it saves, a whole checkpoint and a line of its log being there already:
it cannot end before its fate comes, however slow the machine is.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

ORDERS = "halt"


def order(checkout: Path, seed: int) -> Path:
    """Ask for a halt; return the file that is gone once the training obeys."""
    path = checkout / ORDERS / f"seed{seed}"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def halt_where_asked(event: str, arguments: tuple[Any, ...]) -> None:
    """Obey an order: an audit hook, called before each file is renamed."""
    if event != "os.rename":
        return
    target = Path(os.fsdecode(arguments[1]))
    if target.name != "previous.safetensors" or "teacher" not in target.parts:
        return
    asked = Path(ORDERS, target.parent.name)
    log = target.parent / "log.jsonl"  # begins empty
    if asked.exists() and log.exists() and log.stat().st_size:
        asked.unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "sitecustomize":
    sys.addaudithook(halt_where_asked)
