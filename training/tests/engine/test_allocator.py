"""Memory that was freed is not asked of the system again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BYTES = 64 * 2**20
PROGRAM = f"""
import ctypes, resource, sys
from distillvlm.engine.allocator import keep_freed_memory, release_freed_memory
if sys.argv[1] != "as ever":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def fill():
    place = libc.malloc(ctypes.c_size_t({BYTES}))
    ctypes.memset(place, 1, {BYTES})
    libc.free(place)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    fill()
    if sys.argv[1] == "release":
        release_freed_memory()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True, text=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep memory")
def test_a_block_that_was_freed_comes_back_without_new_pages() -> None:
    assert page_faults("keep") * 10 < page_faults("as ever")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep memory")
def test_kept_memory_is_handed_back_on_demand() -> None:
    assert page_faults("keep") * 10 < page_faults("release")
