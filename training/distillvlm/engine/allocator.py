"""How the C library hands memory back."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Keeps freed memory in the process, where the C library is glibc; elsewhere nothing is done.

    By default every large tensor is a mapping of its own: each step of a training makes the same ones anew, and the
    kernel clears their pages again (`benchmarks/caption_step.py`: a quarter of a caption step's processor time).
    """
    if _is_glibc():
        _libc().mallopt(M_MMAP_MAX, 0)
        _libc().mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def release_freed_memory() -> None:
    """Hands back what `keep_freed_memory` has kept: where sizes vary from step to step, holes would grow for hours."""
    if _is_glibc():
        _libc().malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
