"""How the C library hands memory back."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Keeps freed memory in the process, where the C library is glibc; elsewhere nothing is done.

    By default every large tensor is a mapping of its own: each step of a training makes the same ones anew, and the
    kernel clears their pages again. That was a sixth of a caption step's processor time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
