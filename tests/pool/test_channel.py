"""What a look at a socket tells, on real sockets."""

from __future__ import annotations

import gc
import socket
import struct

import pytest

from django_perf.pool.channel import ALIVE, DEAD, DOWN, READABLE, SILENT, UP, Channel, knock
from tests.pool.fakes import until

RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def ends():
    """The two ends of a TCP connection: ours, and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with own, server:
        yield own, server


@pytest.fixture(params=["poll", "peek"])
def channel(request, ends):
    """A channel, with the look of Linux and with the one for systems that know no POLLRDHUP."""
    channel = Channel(ends[0].fileno())
    if request.param == "peek":
        ends[0].setblocking(False)
        channel.events = None
    yield channel
    channel.close()


def test_a_quiet_connection_is_alive(channel):
    assert channel.state() == ALIVE


def test_something_that_arrived_asks_for_a_round_trip(channel, ends):
    ends[1].sendall(b"notice")
    until(lambda: channel.state() == READABLE)
    assert ends[0].recv(10) == b"notice"
    assert channel.state() == ALIVE


def test_a_server_that_hung_up_is_dead(channel, ends):
    ends[1].close()
    until(lambda: channel.state() == DEAD)


def test_a_reset_is_dead(channel, ends):
    ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    ends[1].close()
    until(lambda: channel.state() == DEAD)


def test_a_last_word_before_the_end_is_no_sign_of_life(ends):
    channel = Channel(ends[0].fileno())
    ends[1].sendall(b"FATAL")
    ends[1].close()
    until(lambda: channel.state() == DEAD)
    channel.close()


def test_cut_frees_the_other_holder_of_the_socket(ends):
    channel = Channel(ends[0].fileno())
    channel.cut()
    assert ends[0].recv(1) == b""
    channel.close()
    channel.cut()  # closed already: the number may belong to somebody else


def test_the_duplicate_goes_with_the_channel(ends):
    channel = Channel(ends[0].fileno())
    held = channel._socket
    del channel
    gc.collect()
    assert held.fileno() == -1


def test_quiet_tells_what_was_sent_and_received(ends):
    channel = Channel(ends[0].fileno())
    ends[0].sendall(b"x")
    assert channel.quiet().sent_s < 5
    assert channel.peer() == (socket.AF_INET, ends[1].getsockname())
    channel.close()


def test_a_knock_at_a_door():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = silent.getsockname()
        assert knock((socket.AF_INET, address), 0.05) == SILENT
    assert knock((socket.AF_INET, address), 0.5) == DOWN


def test_a_knock_at_the_door_of_postgresql(settings):
    database = settings.DATABASES["default"]
    assert knock((socket.AF_INET, (database["HOST"], int(database["PORT"]))), 5) == UP
