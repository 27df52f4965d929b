"""What all tests share: no network, and where the real data is."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def _is_local(host: Any) -> bool:
    text = host.decode() if isinstance(host, bytes) else str(host or "")
    if text in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse_network(name: str, address: Any) -> None:
    # An internet address is a tuple, that of a socket on this machine's disk a path.
    host = address[0] if isinstance(address, tuple) else None
    if not _is_local(host):
        # pytest.fail is no Exception, so code that survives without a network does not swallow it.
        pytest.fail(f"{name}({address!r}): a test tried to use the network; only this machine may be reached")


def _guarded(name: str, original: Any) -> Any:
    def call(self: socket.socket, *arguments: Any) -> Any:
        if name != "sendmsg" or len(arguments) == 4:  # a message has an address only as its fourth argument
            _refuse_network(name, arguments[-1])
        return original(self, *arguments)

    return call


def pytest_configure() -> None:
    """Guard the sockets before anything is collected, since modules must not use the network either."""
    for name in ("connect", "connect_ex", "sendto", "sendmsg"):
        setattr(socket.socket, name, _guarded(name, getattr(socket.socket, name)))
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        _refuse_network("getaddrinfo", (host,))
        return look_up(host, *arguments, **options)

    socket.getaddrinfo = guarded_look_up


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real data, or skip the test where there is none."""
    folder = os.environ.get("ATROUS_DATA")
    if not folder:
        pytest.skip("ATROUS_DATA is not set: real data not present")
    return Path(folder)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command line in this process: exit code, output, errors."""
    from atrous import cli

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call
