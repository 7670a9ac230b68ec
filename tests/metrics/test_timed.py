from __future__ import annotations

import asyncio
import contextlib

import pytest

import django_perf
from django_perf import timed
from django_perf.metrics.recorder import recorder


@pytest.fixture(autouse=True)
def _recording():
    recorder.enabled = True


def blocks():
    found = {}
    for table in recorder.drain().values():
        found |= {
            key[1]: (value.histogram.count, value.counters[0]) for key, value in table.items() if key[0] == "block"
        }
    return found


def test_a_block_is_counted():
    with timed("import"):
        pass
    assert blocks() == {"import": (1, 0)}


def test_an_exception_counts_as_an_error_and_goes_on():
    with pytest.raises(ZeroDivisionError), timed("broken"):
        _ = 1 / 0
    assert blocks() == {"broken": (1, 1)}


def test_leaving_by_generator_exit_is_no_error():
    def produce():
        with timed("stream"):
            yield 1

    stream = produce()
    next(stream)
    stream.close()
    assert blocks() == {"stream": (1, 0)}


def test_a_decorated_function_keeps_name_and_result_and_may_recurse():
    @timed("countdown")
    def countdown(number: int) -> int:
        return number if number == 0 else countdown(number - 1)

    assert countdown.__name__ == "countdown"
    assert countdown(3) == 0
    assert blocks() == {"countdown": (4, 0)}


def test_a_coroutine_is_timed_until_it_ends():
    @timed("async")
    async def fetch(fails: bool) -> int:
        await asyncio.sleep(0)
        if fails:
            raise ValueError
        return 7

    async def run() -> int:
        with contextlib.suppress(ValueError):
            await fetch(fails=True)
        return await fetch(fails=False)

    assert asyncio.run(run()) == 7
    assert blocks() == {"async": (2, 1)}


def test_a_fault_of_ours_does_not_reach_the_block(monkeypatch):
    monkeypatch.setattr(recorder, "record", lambda *args: 1 / 0)
    with timed("fine"):
        result = 5
    monkeypatch.undo()
    assert result == 5
    assert any(key[0] == "loss" for table in recorder.drain().values() for key in table)


def test_the_package_exports_timed_lazily_and_nothing_else_by_accident():
    assert django_perf.timed is timed
    with pytest.raises(AttributeError, match="no attribute 'timde'"):
        _ = django_perf.timde
