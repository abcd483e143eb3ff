"""How much memory is free on this machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CONTROLLERS = {  # of Linux's control groups, new and old: what is allowed, what is used, and what of that can be dropped
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory(root: Path = Path("/")) -> float:
    """Bytes that this process may still take: what the machine has left, or its control group, whichever is less.

    Files that are only cached count as free. Infinite where the system does not tell. `root` is where /proc and /sys are.
    """
    return min(_of_the_machine(root), *(_of_the_group(root, folder) for folder in _CONTROLLERS))


def _of_the_machine(root: Path) -> float:
    told = _number(root / "proc/meminfo", "MemAvailable:")
    if told is not None:
        return 1024 * told
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # without the cached files
    except (ValueError, OSError, AttributeError):  # not on this system
        return math.inf


def _of_the_group(root: Path, folder: str) -> float:
    """What this process's control group, and those around it, leave; infinite where there is no limit."""
    top = root / "sys/fs/cgroup" / folder
    own = top / _path_in(root, folder)
    groups = [group for group in (own, *own.parents) if group == top or top in group.parents]
    return min([_left_in(group, *_CONTROLLERS[folder]) for group in groups], default=math.inf)


def _path_in(root: Path, controller: str) -> str:
    """Where this process stands among the groups of a controller; the top where it is not told."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path.strip("/")
    return ""


def _left_in(group: Path, allowed: str, used: str, droppable: str) -> float:
    limit, usage = _number(group / allowed), _number(group / used)
    if limit is None or usage is None:
        return math.inf
    return max(0, limit - usage + (_number(group / "memory.stat", droppable) or 0))


def _number(file: Path, name: str | None = None) -> int | None:
    """The number in a file, or behind a name in one of its lines; None where there is none."""
    rows = [line.split() for line in _lines(file)]
    found = [row[0] if name is None else row[1] for row in rows if row and name in (None, row[0])]
    return int(found[0]) if found and found[0].isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
