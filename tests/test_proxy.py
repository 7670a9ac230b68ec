"""The proxy fails as it was told, and only so."""

from __future__ import annotations

import gc
import socket
import time
from contextlib import closing
from threading import Thread

import pytest

from tests.proxy import Proxy

PATIENCE_S = 5
SILENCE_S = 0.2


def _echo(listener: socket.socket) -> None:
    """Answer each line with itself, on any number of connections, until the listener is closed."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        Thread(target=_echo_one, args=[peer], daemon=True).start()


def _echo_one(peer: socket.socket) -> None:
    with peer:
        try:
            while data := peer.recv(65536):
                peer.sendall(data)
        except OSError:
            return


@pytest.fixture
def upstream():
    """The address of an echo server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=_echo, args=[listener], daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(upstream):
    """A proxy in front of it."""
    with Proxy(upstream) as running:
        yield running


def call(proxy: Proxy) -> socket.socket:
    """Connect to the proxy."""
    return socket.create_connection(proxy.address, timeout=PATIENCE_S)


def echoes(caller: socket.socket, text: bytes = b"hello") -> bool:
    """Tell whether the server's answer comes; False when nothing does, OSError when the flow is broken."""
    caller.settimeout(SILENCE_S)
    caller.sendall(text)
    try:
        answer = caller.recv(65536)
    except TimeoutError:
        return False
    if not answer:
        raise ConnectionResetError("end of stream")
    return answer == text


def test_bytes_pass_in_both_directions(proxy):
    payload = bytes(range(256)) * 4096
    with closing(call(proxy)) as caller:
        Thread(target=caller.sendall, args=[payload], daemon=True).start()
        received = b""
        while len(received) < len(payload):
            received += caller.recv(65536)
    assert received == payload


def test_the_end_of_a_stream_passes_too(proxy):
    with closing(call(proxy)) as caller:
        assert echoes(caller)
        caller.shutdown(socket.SHUT_WR)
        caller.settimeout(PATIENCE_S)
        assert caller.recv(1) == b""
    _wait_until(lambda: not proxy.flows)


def test_cut_breaks_flows_and_lets_new_ones_in(proxy):
    with closing(call(proxy)) as old, closing(call(proxy)) as new:
        assert echoes(old)
        assert echoes(new)
        proxy.cut()
        with pytest.raises(OSError, match=r"reset|Broken pipe|end of stream"):
            echoes(old)
    with closing(call(proxy)) as later:
        assert echoes(later)


def test_refuse_leaves_old_flows_alone(proxy):
    with closing(call(proxy)) as old:
        assert echoes(old)
        proxy.refuse()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            call(proxy)
        assert echoes(old)
        proxy.accept()
        proxy.accept()
        with closing(call(proxy)) as new:
            assert echoes(new)


def test_swallow_is_silent_for_old_and_new_flows_and_heals_for_later_ones(proxy):
    with closing(call(proxy)) as old:
        assert echoes(old)
        proxy.swallow()
        with closing(call(proxy)) as new:
            assert not echoes(old)
            assert not echoes(new)
            proxy.heal()
            assert not echoes(old)
            assert not echoes(new)
    with closing(call(proxy)) as later:
        assert echoes(later)


def test_forget_is_silent_for_old_flows_only(proxy):
    with closing(call(proxy)) as old:
        assert echoes(old)
        proxy.forget()
        with closing(call(proxy)) as new:
            assert echoes(new)
            assert not echoes(old)
            assert echoes(new)


def test_a_forgotten_flow_hides_the_end_of_its_other_side(proxy):
    with closing(call(proxy)) as old:
        assert echoes(old)
        proxy.forget()
        old.close()
        time.sleep(SILENCE_S)
        assert len(proxy.flows) == 1


def test_delay_holds_for_each_direction_and_keeps_the_order(proxy):
    with closing(call(proxy)) as caller:
        assert echoes(caller)
        proxy.delay(0.1)
        started = time.monotonic()
        caller.settimeout(PATIENCE_S)
        caller.sendall(b"slow")
        time.sleep(0.01)
        proxy.heal()
        caller.sendall(b"fast")
        received = b""
        while len(received) < 8:
            received += caller.recv(8)
        assert received == b"slowfast"
        assert time.monotonic() - started > 0.09


def test_a_server_that_is_down_resets_the_caller():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with Proxy(address) as proxy, pytest.raises(OSError, match=r"reset|end of stream"), closing(call(proxy)) as caller:
        echoes(caller)


def _wait_until(is_done) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_nothing_is_left_of_what_was_accepted_or_had_hung_up_as_it_ends(upstream):
    for _ in range(30):
        with Proxy(upstream) as running:
            call(running).close()
            callers = [call(running) for _ in range(3)]
        for caller in callers:
            caller.close()
    assert running.flows == set()
    gc.collect()  # what nobody has closed is a warning here, and that is an error
