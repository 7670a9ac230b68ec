"""The mark of a drain: only ours counts, and only for an hour."""

from __future__ import annotations

import os
import stat
import time

import pytest
from django.core.management import CommandError, call_command

from django_perf.exceptions import UnsafeFolder
from django_perf.readiness.drain import FORGOTTEN_S, Drain


@pytest.fixture
def drain(tmp_path):
    """A drain in a folder that does not exist yet."""
    return Drain(tmp_path / "state", "site")


def test_it_can_be_switched_on_and_off_any_number_of_times(drain):
    assert not drain.is_on()
    drain.switch_off()
    for _ in range(2):
        drain.switch_on()
        assert drain.is_on()
    for _ in range(2):
        drain.switch_off()
        assert not drain.is_on()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_folder_and_the_file_are_private_whatever_the_umask(drain, umask):
    before = os.umask(umask)
    try:
        drain.switch_on()
    finally:
        os.umask(before)
    assert stat.S_IMODE(drain.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(drain.path.stat().st_mode) == 0o600


def test_switching_on_again_begins_anew(drain):
    drain.switch_on()
    os.utime(drain.path, (1, 1))
    drain.switch_on()
    assert drain.age() < 60


@pytest.mark.parametrize("shift", [-FORGOTTEN_S - 1, FORGOTTEN_S + 60])
def test_a_forgotten_one_or_one_of_another_time_is_ignored(drain, shift):
    drain.switch_on()
    at = time.time() + shift
    os.utime(drain.path, (at, at))
    assert not drain.is_on()
    assert drain.age() is not None


def test_sites_of_one_user_do_not_drain_each_other(drain):
    drain.switch_on()
    assert not Drain(drain.folder, "other").is_on()


def test_a_link_in_the_place_of_the_folder_is_refused(drain, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    drain.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeFolder, match="is no folder, or a link"):
        drain.switch_on()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755, 0o701])
def test_a_folder_that_others_can_enter_is_refused(drain, mode):
    drain.folder.mkdir()
    drain.folder.chmod(mode)
    with pytest.raises(UnsafeFolder, match=f"mode {mode:o}; it has to belong to"):
        drain.switch_on()


def test_a_folder_of_another_user_is_refused(drain, monkeypatch):
    drain.folder.mkdir(mode=0o700)
    monkeypatch.setattr("os.geteuid", lambda: drain.folder.stat().st_uid + 1)
    with pytest.raises(UnsafeFolder, match="belongs to user"):
        drain.switch_on()


def test_a_file_that_somebody_else_put_there_does_not_drain(drain, tmp_path, monkeypatch):
    drain.folder.mkdir()
    own = tmp_path / "own"
    own.write_text("")
    drain.path.symlink_to(own)
    assert drain.age() is None
    drain.path.unlink()
    drain.path.hardlink_to(own)
    assert drain.age() is None
    drain.path.unlink()
    drain.path.mkdir()
    assert drain.age() is None
    drain.path.rmdir()
    drain.path.write_text("")
    assert drain.is_on()
    monkeypatch.setattr("os.geteuid", lambda: own.stat().st_uid + 1)
    assert drain.age() is None


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(drain, tmp_path):
    drain.folder.mkdir(mode=0o700)
    target = tmp_path / "target"
    target.write_text("kept")
    drain.path.symlink_to(target)
    drain.switch_on()
    assert (drain.is_on(), target.read_text()) == (True, "kept")


def test_the_command_says_what_it_did_and_where(settings, tmp_path, capsys):
    settings.DJANGO_PERF = {"STATE_FOLDER": tmp_path / "state"}
    said = []
    for action in ("status", "on", "status", "off"):
        call_command("perfdrain", action)
        said.append(capsys.readouterr().out)
    assert [line.partition(" (")[0] for line in said] == ["not draining", *["draining for 0 s"] * 2, "not draining"]
    assert all(str(tmp_path / "state" / "drain-") in line for line in said)


def test_the_command_tells_of_one_that_was_forgotten(settings, tmp_path, capsys):
    settings.DJANGO_PERF = {"STATE_FOLDER": str(tmp_path / "state")}
    call_command("perfdrain", "on")
    (mark,) = (tmp_path / "state").iterdir()
    os.utime(mark, (time.time() - 7_200,) * 2)
    capsys.readouterr()
    call_command("perfdrain", "status")
    assert "not draining: switched on 7200 s ago, ignored after 3600 s" in capsys.readouterr().out


def test_the_command_fails_where_there_is_no_safe_place(settings, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    settings.DJANGO_PERF = {"STATE_FOLDER": str(tmp_path / "state")}
    with pytest.raises(CommandError, match="set STATE_FOLDER"):
        call_command("perfdrain", "on")
    settings.DJANGO_PERF = {"STATE_FOLDER": str(tmp_path / "no" / "where")}
    with pytest.raises(CommandError, match="No such file"):
        call_command("perfdrain", "on")
