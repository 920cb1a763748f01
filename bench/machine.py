"""Facts about the machine and the software, for the record."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any


def available_processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def facts() -> dict[str, Any]:
    """Processor, caches, memory, system, Python and the load when it was asked."""
    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
        "processors_available": available_processors(),
        "caches": caches(),
        "memory_gib": memory(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def caches() -> dict[str, str]:
    """Sizes of the first processor's caches, such as {"L1d": "48K"}; empty where not known."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / f).read_text().strip() for f in ("level", "type", "size"))
        sizes[f"L{level}{kind[0].lower() if kind != 'Unified' else ''}"] = size
    return sizes


def memory() -> float | None:
    """Memory of the machine in GiB; None where not known."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
