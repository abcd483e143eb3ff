"""TensorFlow's native log lines are dropped; whatever else is written to standard error meanwhile is not."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from sightline.frameworks.silence import without_log_lines

LOG = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795468546.775466   14356 port.cc:153] oneDNN custom operations are on.
E0000 00:00:1795468617.279485   14409 cuda_platform.cc:52] failed call to cuInit
To enable the following instructions: AVX2 AVX512F, in other operations, rebuild TensorFlow.
"""


def test_log_lines_are_dropped_and_the_rest_is_given_on(capfd: pytest.CaptureFixture[str]) -> None:
    with without_log_lines():
        os.write(2, LOG.encode())
        print("a warning of Python's", file=sys.stderr)
    print("and afterwards", file=sys.stderr)
    assert capfd.readouterr().err == "a warning of Python's\nand afterwards\n"


def test_what_was_written_is_not_lost_with_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError), without_log_lines():
        os.write(2, b"libfoo.so: cannot open\n")
        raise ImportError
    assert capfd.readouterr().err == "libfoo.so: cannot open\n"


def test_two_threads_leave_standard_error_where_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def first() -> None:
        with without_log_lines():
            first_is_in.set()
            second_is_in.wait(0.3)  # in vain: it must wait for this one
        first_is_out.set()

    def second() -> None:
        first_is_in.wait(5)
        with without_log_lines():
            second_is_in.set()
            first_is_out.wait(5)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"
