"""Memory that a step frees is kept for the next one: on a CPU, asking the system anew costs a tenth of the time."""

from __future__ import annotations

import ctypes
import platform

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_LARGEST_INT = 2**31 - 1
_TOP_PAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Tells glibc's malloc to keep large blocks instead of mapping each one anew; for the whole process.

    A step's activations are tens of megabytes each. By default every one is mapped, cleared page by page, and
    given back, in every step again. The peak stays what it was; memory is given back when the process ends.

    Returns:
        Whether it could be told: False where the C library isn't glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST_INT), (_M_TOP_PAD, _TOP_PAD))
    return all(mallopt(option, value) == 1 for option, value in settings)
