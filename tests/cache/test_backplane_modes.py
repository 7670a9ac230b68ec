"""Each way of learning what others write, on a real server: when it is taken, what it promises, and how it ends."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
import time

import pytest

from example_project.demo.processes import ROOT
from tests.cache.conftest import fence
from tests.waiting import wait_until

NO_TRACKING = ["-client", "+client|setname"]
NO_SUBSCRIBING = [*NO_TRACKING, "-subscribe"]
# Less than MAX_SILENCE_S: what takes no longer was told, not found out when the trust ran out.
SOON_S = 0.8
_users = itertools.count(1)


@pytest.fixture
def allowed(server):
    """Return what makes a user of the server with some rights only, and the address that is theirs."""
    made = []

    def user(*rights):
        name = f"user{next(_users)}"
        made.append(name)
        server.client.execute_command("ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all", *rights)
        return name, server.url().replace("//", f"//{name}:secret@")

    yield user
    server.client.execute_command("ACL", "DELUSER", *made)


@pytest.fixture
def warnings(caplog):
    """Return what is logged about a mode that was refused."""
    caplog.set_level(logging.WARNING, "django_perf")
    return lambda: [one.getMessage() for one in caplog.records if "refuses coherence" in one.getMessage()]


def level(cache, key):
    """Return the level that a read finds a key in."""
    entry = cache.levels.read(cache.physical(key))
    return entry and entry.level


def keep(cache, key, value):
    """Write a value and have it in memory."""
    cache.set(key, value)
    wait_until(lambda: (cache.get(key), level(cache, key)) == (value, "l1"))


def settle(cache, *keys):
    """Have keys in memory, and be told of nothing more that has been written before."""
    fence(cache.levels)
    cache.get_many(keys)
    assert [level(cache, key) for key in keys] == ["l1"] * len(keys)


def in_mode(cache, mode):
    """Use a cache until its mode is this one."""
    cache.get("key")
    wait_until(lambda: cache.levels.backplane.mode == mode)
    fence(cache.levels)
    return cache


def listeners(server):
    """Return the ids of the connections that the server tells of writes, or that wait for messages."""
    return [one["id"] for one in server.client.client_list() if "B" in one["flags"] or "P" in one["flags"]]


# --- what takes the place of what ---------------------------------------------------------------------------------


def test_who_may_not_track_listens_to_messages_and_the_log_says_so(make, allowed, warnings):
    _, url = allowed(*NO_TRACKING)
    cache = in_mode(make("L1", "L2", location=url), "pubsub")
    assert cache.levels.backplane.is_linked
    (warning,) = warnings()
    assert "refuses coherence 'tracking'" in warning
    assert "it is 'pubsub' now" in warning


def test_who_may_not_subscribe_either_is_told_by_nobody_and_the_log_says_both(make, allowed, warnings, server):
    _, url = allowed(*NO_SUBSCRIBING)
    cache = in_mode(make("L1", "L2", location=url), "ttl")
    assert [warning.rpartition("it is ")[2] for warning in warnings()] == ["'pubsub' now", "'ttl' now"]
    wait_until(lambda: not cache.levels.backplane.is_linked and not listeners(server))
    keep(cache, "key", "value")


def test_who_may_do_all_tracks_and_nothing_is_logged(make, allowed, warnings, server):
    _, url = allowed()
    cache = in_mode(make("L1", "L2", location=url), "tracking")
    keep(cache, "key", "value")
    assert (cache.levels.backplane.is_linked, warnings()) == (True, [])


@pytest.mark.parametrize("options", [{}, {"coherence": "pubsub"}])
def test_a_server_that_is_away_refuses_nothing(make, server, warnings, options):
    with server.down():
        cache = make("L1", "L2", location=server.url(), **options)
        before = cache.levels.backplane.mode
        cache.get("key")
        wait_until(lambda: cache.levels.backplane.reconnects > 1)
        assert (cache.levels.backplane.mode, warnings()) == (before, [])
    shared = cache.levels.shared
    wait_until(lambda: not shared.redis.is_open and not shared.repairs.redis)
    keep(cache, "key", "value")


# --- what each promises -------------------------------------------------------------------------------------------


def writes():
    """Every way to change the key `key`, with what it leaves."""
    return {
        "set": (lambda cache: cache.set("key", 2), 2),
        "set_many": (lambda cache: cache.set_many({"key": 2, "other": 3}), 2),
        "delete": (lambda cache: cache.delete("key"), None),
        "incr": (lambda cache: cache.incr("key"), 2),
        "touch": (lambda cache: cache.touch("key", 0), None),
        "clear": (lambda cache: cache.clear(), None),
        "pattern": (lambda cache: cache.delete_pattern("k*"), None),
    }


@pytest.fixture(scope="module", params=["tracking", "pubsub"])
def told(request):
    """The modes in which a process is told."""
    return request.param


@pytest.mark.parametrize(("mode", "write"), [*(("pubsub", write) for write in writes()), ("tracking", "set")])
def test_what_one_process_writes_another_forgets_at_once(make, server, mode, write):
    reader = make("L1", "L2", location=server.url(), coherence=mode)
    writer = make.process(reader)
    keep(writer, "key", 1)
    wait_until(lambda: (reader.get("key"), level(reader, "key")) == (1, "l1"))
    settle(reader, "key")
    reconnects = reader.levels.backplane.reconnects
    do, left = writes()[write]
    do(writer)
    wait_until(lambda: reader.get("key") == left, SOON_S)
    assert (writer.get("key"), reader.levels.backplane.reconnects) == (left, reconnects)


def test_a_message_is_what_tells_in_pubsub(make, server):
    reader = make("L1", "L2", location=server.url(), coherence="pubsub")
    reader.set_many({"key": "old", "other": "kept"})
    settle(reader, "key", "other")
    physical = reader.physical("key")
    server.client.delete(physical)
    fence(reader.levels)
    assert reader.get("key") == "old", "nobody has told"
    server.client.publish(reader.levels.backplane.channel, physical.encode().hex())
    wait_until(lambda: reader.get("key") is None, SOON_S)
    assert level(reader, "other") == "l1"


def test_a_message_that_nobody_of_us_has_sent_does_no_harm(make, server):
    reader = make("L1", "L2", location=server.url(), coherence="pubsub")
    keep(reader, "key", "old")
    server.client.publish(reader.levels.backplane.channel, b"\xff no hex")
    make.process(reader).set("key", "new")
    wait_until(lambda: reader.get("key") == "new")
    keep(reader, "key", "newer")


def test_a_fallen_process_is_told_of_by_those_of_its_kind(make, allowed):
    _, url = allowed(*NO_TRACKING)
    reader = in_mode(make("L1", "L2", location=url), "pubsub")
    writer = in_mode(make.process(reader), "pubsub")
    keep(reader, "key", "old")
    writer.set("key", "new")
    wait_until(lambda: reader.get("key") == "new", SOON_S)


def test_without_anybody_who_tells_an_entry_lives_as_long_as_the_bound(make, server):
    bound = 0.4
    l1 = {"timeout": bound}
    reader = make("L1", "L2", location=server.url(), coherence="ttl", L1=l1)
    writer = make.process(reader)
    assert reader.levels.ttl_bound == bound
    began = time.monotonic()
    keep(reader, "key", "old")
    writer.set("key", "new")
    assert reader.get("key") == "old", "it lies in memory"
    wait_until(lambda: reader.get("key") == "new")
    assert time.monotonic() - began < bound + SOON_S


def test_a_process_that_fell_to_the_bottom_keeps_the_shorter_bound(make, allowed):
    _, url = allowed(*NO_SUBSCRIBING)
    reader = in_mode(make("L1", "L2", location=url, L1={"timeout": 60}), "ttl")
    writer = in_mode(make.process(reader), "ttl")
    assert reader.levels.ttl_bound == 5.0
    reader.levels.ttl_bound = 0.4
    keep(reader, "key", "old")
    writer.set("key", "new")
    assert reader.get("key") == "old"
    time.sleep(0.4)
    assert reader.get("key") == "new"


# --- when something may have been missed --------------------------------------------------------------------------


@pytest.mark.parametrize("flush", ["flushdb", "flushall"])
def test_after_a_flush_memory_is_empty(make, server, flush):
    cache = make("L1", "L2", location=server.url())
    keep(cache, "key", "value")
    reconnects = cache.levels.backplane.reconnects
    getattr(server.client, flush)()
    wait_until(lambda: not len(cache.levels.memory), SOON_S)
    fence(cache.levels)  # what is written before it knows is written under the epoch that went with the flush
    assert (cache.get("key"), cache.levels.backplane.reconnects) == (None, reconnects)
    keep(cache, "key", "again")


def test_memory_is_not_read_while_nobody_tells_and_is_empty_when_somebody_does_again(make, server, allowed, told):
    name, url = allowed()
    reader = make("L1", "L2", location=url, coherence=told)
    reader.set_many({"key": "old", "other": "kept"})
    settle(reader, "key", "other")
    server.client.acl_setuser(name, enabled=False)  # who is connected stays so; the listener will not be again
    for listener in listeners(server):
        server.client.client_kill_filter(_id=listener)
    wait_until(lambda: not reader.levels.backplane.is_linked, SOON_S)
    held = len(reader.levels.memory)
    assert [level(reader, "key"), level(reader, "other")] == ["l2", "l2"]
    writer = make("L1", "L2", location=server.url(), prefix=reader.levels.keys.prefix, coherence=told)
    writer.set("key", "new")
    assert reader.get("key") == "new"
    assert reader.levels.memory.look(reader.physical("key"), time.monotonic()).value == "old", "not read, but there"
    assert len(reader.levels.memory) == held
    server.client.acl_setuser(name, enabled=True)
    wait_until(lambda: reader.levels.backplane.is_linked)
    assert len(reader.levels.memory) == 0
    assert (reader.get("key"), reader.get("other")) == ("new", "kept")
    assert level(reader, "key") == "l1"


def test_what_was_read_before_the_connection_is_not_kept_after_it(make, server, told):
    reader = make("L1", "L2", location=server.url(), coherence=told)
    keep(reader, "key", "old")
    token = reader.levels.memory.begin(reader.physical("key"))
    before = listeners(server)
    for listener in before:
        server.client.client_kill_filter(_id=listener)
    wait_until(lambda: reader.levels.backplane.is_linked and set(listeners(server)) - set(before))
    fence(reader.levels)
    assert not reader.levels.memory.fill(reader.physical("key"), token, "old", None)


def test_a_silent_server_is_not_trusted_for_longer_than_a_second(make, server):
    cache = make("L1", "L2", location=server.url())
    keep(cache, "key", "value")
    namespace = cache.levels.namespace
    with server.frozen():
        frozen = time.monotonic()
        wait_until(lambda: time.monotonic() > namespace.trusted_until)
        assert time.monotonic() - frozen < 1.0 + SOON_S
        assert cache.get("key") is None, "nobody knows"
    wait_until(lambda: cache.levels.backplane.is_linked and not cache.levels.shared.redis.is_open)
    keep(cache, "key", "value")


# --- after a fork -------------------------------------------------------------------------------------------------

FORK = """
import json, os, signal, sys, time
from tests.cache.coherence_workers import configure
signal.alarm(20)
configure({"cache": json.loads(sys.argv[1])})
from django.core.cache import cache
from tests.cache.conftest import fence
from tests.waiting import wait_until

def keep(key, value):
    cache.set(key, value)
    fence(cache.levels)
    cache.get(key)
    return has(key)

def has(key):
    return cache.levels.memory.look(cache.physical(key), time.monotonic()) is not None

def hears(key):
    wait_until(lambda: not has(key), 0.8)
    return cache.levels.backplane.reconnects == before

assert keep("from-child", "old") and keep("from-parent", "old")
to_child, to_parent = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    said = {"begins": [len(cache.levels.memory), cache.levels.backplane.is_linked, cache.levels.namespace.head]}
    said["keeps"] = keep("own", "value") and cache.get("from-parent") == "old" and has("from-parent")
    before = cache.levels.backplane.reconnects
    os.write(to_parent[1], b"r")
    said["hears"] = hears("from-parent") and has("own")
    cache.set("from-child", "new")
    os.write(to_parent[1], json.dumps(said).encode())
    os.read(to_child[0], 1)
    os._exit(0)
os.read(to_parent[0], 1)
kept = cache.get("from-child") == "old" and has("from-child")
before = cache.levels.backplane.reconnects
cache.set("from-parent", "new")
child = json.loads(os.read(to_parent[0], 1000))
print(json.dumps({"child": child, "parent": [kept, hears("from-child"), cache.get("from-child")]}), flush=True)
sys.stdin.readline()
os.write(to_child[1], b"e")
assert os.waitpid(pid, 0)[1] == 0
"""

ORPHAN = """
import json, os, sys
from tests.cache.coherence_workers import configure
configure({"cache": json.loads(sys.argv[1])})
from django.core.cache import cache
from tests.cache.conftest import fence
cache.get("key")
fence(cache.levels)
if os.fork():
    os._exit(0)
print("alone", flush=True)
sys.stdin.readline()
"""


class Script:
    """A process of its own that forks; ends with its input."""

    def __init__(self, text, server, **options):
        params = {
            "BACKEND": "django_perf.cache.MultiLevelCache",
            "LOCATION": server.url(),
            "KEY_PREFIX": f"fork{time.monotonic_ns()}",
            "OPTIONS": options,
        }
        command = [sys.executable, "-W", "ignore", "-c", text, json.dumps(params)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)

    def __enter__(self):
        return self

    def line(self):
        return self.process.stdout.readline()

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.stdout.read()  # ends with the last who has it
        self.process.stdout.close()
        self.code = self.process.wait(10)


@pytest.mark.parametrize("how", ["clear", "flush"])
@pytest.mark.parametrize("what", ["delete", "set"])
def test_what_is_written_before_the_new_epoch_is_known_is_not_lost(make, server, how, what):
    """The message is late: the write goes astray under the old epoch, and is made good when the message comes."""
    other = make("L1", "L2", location=server.url())
    late = make.process(other)
    for cache in (other, late):
        cache.get("key")
        fence(cache.levels)
    told, forget = late.levels.invalidated, late.levels.forget_all
    late.levels.invalidated = lambda keys: (time.sleep(0.3), told(keys))
    late.levels.forget_all = lambda: (time.sleep(0.3), forget())
    if how == "clear":
        other.clear()
    else:
        server.client.flushdb()
        wait_until(lambda: other.levels.namespace.head == "")
    other.set("key", "old")
    late.delete("key") if what == "delete" else late.set("key", "new")
    wait_until(lambda: other.get("key") in (None, "new"), 2)
    fence(late.levels)
    assert late.get("key") == other.get("key") != "old"


def test_a_child_begins_empty_and_listens_for_itself(server):
    before = set(listeners(server))
    with Script(FORK, server) as script:
        said = json.loads(script.line())
        linked = set(listeners(server)) - before
    assert said == {
        "child": {"begins": [0, False, ""], "keeps": True, "hears": True},
        "parent": [True, True, "new"],
    }
    assert (len(linked), script.code) == (2, 0)


def test_a_child_that_does_not_use_the_cache_keeps_no_connection_of_its_parents(server):
    before = set(listeners(server))
    with Script(ORPHAN, server) as script:
        assert script.line() == "alone\n"
        script.process.wait(10)
        wait_until(lambda: not set(listeners(server)) - before, SOON_S)
