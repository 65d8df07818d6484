"""Executors give the same results, in whatever order, and pass errors on."""

import os
import signal

import pytest

from astrokeras.errors import ModelError, RunError
from astrokeras.executors import Processes, Serial, executor


def square(x):
    if x == 3:
        raise ModelError("three is refused")
    return x * x


def threads_seen(_):
    return os.environ["OMP_NUM_THREADS"], os.getpid()


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def processes():
    with Processes(2, threads=1) as pool:
        yield pool


@pytest.fixture(params=["serial", "processes"])
def any_executor(request):
    return Serial() if request.param == "serial" else request.getfixturevalue("processes")


def test_results_and_errors_come_with_their_items(any_executor):
    outcomes = {o.item: o for o in any_executor.map(square, range(6))}
    assert {k: o.result for k, o in outcomes.items() if o.error is None} == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25}
    assert str(outcomes[3].error) == "three is refused"
    assert type(outcomes[3].error) is ModelError


def test_threads_are_set_in_other_processes(processes):
    seen = [o.result for o in processes.map(threads_seen, range(4))]
    assert {threads for threads, _ in seen} == {"1"}
    assert os.getpid() not in {pid for _, pid in seen}


def test_a_dead_worker_is_said():
    with Processes(2) as pool, pytest.raises(RunError, match="a worker process died"):
        list(pool.map(die, [1]))


def test_a_pool_that_broke_before_is_said():
    with Processes(2) as pool:
        for function in (die, square):
            with pytest.raises(RunError, match="a worker process died"):
                list(pool.map(function, [1]))


def test_a_site_names_its_executor():
    assert isinstance(executor("serial", workers=4), Serial)
    assert executor("processes", workers=1, threads=3) == Processes(1, 3)
