"""Imports without Python's collector: torch and diffusers make a million objects, all of them stay.

Looking through them again and again took a fifth of a short job's time.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
from types import ModuleType


def import_to_stay(name: str) -> ModuleType:
    """Import a module; the collector of reference cycles passes over what it made, now and later.

    Raises what the import raises.
    """
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # C extensions complain of objects that outlive them
        gc.enable()
