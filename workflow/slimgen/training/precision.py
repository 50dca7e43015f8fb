"""Precision, memory format and compilation, with defaults per device."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import nn

from slimgen.config.base import Runtime

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """Resolved choice: how a stage computes on `device`."""

    device: torch.device
    dtype: torch.dtype
    channels_last: bool
    compile: bool

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context of forward passes; a no-op in fp32."""
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device in the chosen memory format."""
        if self.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module.to(self.device)

    def compiled(self, module: nn.Module) -> nn.Module:
        """Return the module, compiled where that is on; its weights are shared with `module`."""
        if not self.compile:
            return module
        compiled: nn.Module = torch.compile(module)  # type: ignore[assignment]
        return compiled

    def scaler(self) -> torch.amp.GradScaler | None:
        """Return a gradient scaler for fp16, else None."""
        return torch.amp.GradScaler(self.device.type) if self.dtype is torch.float16 else None


def resolve(settings: Runtime, device: torch.device | str) -> Compute:
    """Fill in `auto`: fp32, NCHW, eager on a CPU; bf16, channels_last, compiled on a GPU."""
    device = torch.device(device)
    on_gpu = device.type == "cuda"
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32"
    if settings.deterministic:
        torch.use_deterministic_algorithms(True)
    return Compute(
        device=device,
        dtype=DTYPES[precision],
        channels_last=on_gpu if settings.channels_last == "auto" else settings.channels_last,
        compile=on_gpu if settings.compile == "auto" else settings.compile,
    )
