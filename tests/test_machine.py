"""Free memory is read where the system tells it: of the machine, and of the control groups that hold the process."""

from __future__ import annotations

import math
import os
from pathlib import Path

from sightline.machine import free_memory

FRAMEWORKS = ("none",)


def machine(root: Path, **files: str) -> Path:
    """A file for each path, whose / is written __."""
    for path, text in {"proc__meminfo": "MemTotal: 900 kB\nMemFree: 100 kB\nMemAvailable: 500 kB\n", **files}.items():
        file = root / path.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def new_group(path: str, limit: str, used: int, dropped: int) -> dict[str, str]:
    return {
        f"sys__fs__cgroup__{path}memory_DOT_max": f"{limit}\n",
        f"sys__fs__cgroup__{path}memory_DOT_current": f"{used}\n",
        f"sys__fs__cgroup__{path}memory_DOT_stat": f"anon 7\ninactive_file {dropped}\nactive_file 9\n",
    }


def old_group(path: str, limit: int, used: int, dropped: int) -> dict[str, str]:
    return {
        f"sys__fs__cgroup__memory__{path}memory_DOT_limit_in_bytes": f"{limit}\n",
        f"sys__fs__cgroup__memory__{path}memory_DOT_usage_in_bytes": f"{used}\n",
        f"sys__fs__cgroup__memory__{path}memory_DOT_stat": f"inactive_file 1\ntotal_inactive_file {dropped}\n",
    }


def test_cached_files_count_as_free(tmp_path: Path) -> None:
    assert free_memory(machine(tmp_path)) == 500 * 1024


def test_the_limit_of_a_group_is_lower(tmp_path: Path) -> None:
    files = new_group("", "max", 5, 0) | new_group("a__b__", "300000", 200000, 50000) | new_group("a__", "999999", 1, 0)
    assert free_memory(machine(tmp_path, proc__self__cgroup="0::/a/b\n", **files)) == 150000


def test_the_limit_of_a_group_around_it_holds_too(tmp_path: Path) -> None:
    files = new_group("a__b__", "max", 200000, 0) | new_group("a__", "250000", 240000, 3000)
    assert free_memory(machine(tmp_path, proc__self__cgroup="0::/a/b\n", **files)) == 13000


def test_a_group_that_is_told_by_its_path_outside_is_the_top_one_inside(tmp_path: Path) -> None:
    files = new_group("", "400000", 100000, 0)
    assert free_memory(machine(tmp_path, proc__self__cgroup="0::/docker/1f\n", **files)) == 300000


def test_groups_of_the_older_kind(tmp_path: Path) -> None:
    told = "11:cpu,cpuacct:/x\n4:memory:/job\n0::/\n"
    files = old_group("", 2**63 - 4096, 10**6, 0) | old_group("job__", 300000, 250000, 10000)
    assert free_memory(machine(tmp_path, proc__self__cgroup=told, **files)) == 60000
    over = machine(tmp_path, **old_group("job__", 300000, 350000, 10000))
    assert free_memory(over) == 0


def test_a_group_with_more_than_the_machine_has(tmp_path: Path) -> None:
    assert free_memory(machine(tmp_path, proc__self__cgroup="0::/\n", **new_group("", str(10**12), 0, 0))) == 512000


def test_where_there_is_no_such_file(tmp_path: Path) -> None:
    pages = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else math.inf
    found = free_memory(tmp_path)
    assert found == pages or 0.5 < found / (pages * os.sysconf("SC_PAGE_SIZE")) < 2
    assert free_memory() > 0
