"""Dropout as the CPU computes it: on other devices torch scales by a factor that is rounded in another way."""

from __future__ import annotations

from functools import lru_cache

import torch

from djinn.client import runtime


def dropout(source: torch.Tensor, p: float, train: bool) -> torch.Tensor:
    """Return elements, each left out with probability `p` and scaled by 1 / (1 - p) otherwise.

    One fused operation where that makes no difference, which is so for most probabilities and float32.

    Raises:
        RuntimeError: no probability, in the words of torch.
    """
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
    if not train or p == 0 or source.numel() == 0:
        return source
    if p == 1:
        return source * torch.zeros((), dtype=source.dtype, device=source.device)
    if runtime.current_client().device_type != "cpu" or _is_fused_alike(p, source.dtype):
        return torch.native_dropout(source, p, train)[0]
    return source * torch.empty_like(source).bernoulli_(1 - p).div_(1 - p)


@lru_cache(maxsize=256)
def _is_fused_alike(p: float, dtype: torch.dtype) -> bool:
    """Tell whether the factor that the CPU rounds to `dtype` is the one that the fused operation multiplies by."""
    computed_in = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    return bool(torch.ones((), dtype=dtype).div_(1 - p).to(computed_in) == torch.tensor(1 / (1 - p), dtype=computed_in))
