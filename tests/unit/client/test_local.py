import os
import socket
import stat

import pytest

from inferonnx.client.local import listening, own_names, parse_local, shown
from inferonnx.errors import UnavailableError, UsageError


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("127.0.0.1:8000", "127.0.0.1", 8000, ""),
        ("127.8.9.1:0", "127.8.9.1", 0, ""),
        ("localhost:1", "localhost", 1, ""),
        ("[::1]:65535", "::1", 65535, ""),
        ("unix:/run/x.sock", "", 0, "/run/x.sock"),
        ("unix:x", "", 0, "x"),
    ],
)
def test_places_on_this_machine(text, host, port, path):
    address = parse_local(text)
    assert (address.host, address.port, address.path) == (host, port, path)
    assert address.is_loopback


@pytest.mark.parametrize(
    "text",
    [
        *("", "8000", ":8000", "unix:", "unix:a\0b", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x"),
        *("127.0.0.1:65536", "127.0.0.1:٣", "example.org:8000", "::1", "[::1]", "1.2.3:80"),
    ],
)
def test_what_is_no_place(text):
    with pytest.raises(UsageError, match="is no place to listen on"):
        parse_local(text)


@pytest.mark.parametrize("text", ["0.0.0.0:8000", "[::]:8000", "192.0.2.1:8000", "10.0.0.1:1"])
def test_what_others_reach_takes_a_word_of_its_own(text):
    with pytest.raises(UsageError, match="others reach") as caught:
        parse_local(text)
    assert "--allow-remote" in caught.value.hint
    assert not parse_local(text, allow_remote=True).is_loopback


def test_names_of_a_socket():
    with listening(parse_local("127.0.0.1:0")) as (sock,):
        port = sock.getsockname()[1]
        names = own_names([sock], ["Proxy.example"])
        assert names == {
            f"127.0.0.1:{port}",
            f"localhost:{port}",
            f"[::1]:{port}",
            f"proxy.example:{port}",
        }
        assert shown(sock) == f"http://127.0.0.1:{port}"


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="can't listen on 127"):
            with listening(parse_local(place)):
                pass


def test_localhost_listens_where_it_can():
    with listening(parse_local("localhost:0")) as sockets:
        assert sockets
        assert all(sock.getsockname()[0] in ("127.0.0.1", "::1") for sock in sockets)


def test_a_unix_socket_is_its_owners_alone_and_goes_at_the_end(tmp_path):
    path = tmp_path / "proxy.sock"
    before = os.umask(0)
    try:
        with listening(parse_local(f"unix:{path}")) as (sock,):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert own_names([sock], []) == frozenset()
            assert shown(sock) == f"unix:{path}"
            with pytest.raises(UnavailableError, match="listens on"):
                with listening(parse_local(f"unix:{path}")):
                    pass
            assert path.exists()
    finally:
        assert os.umask(before) == 0
    assert not path.exists()


def test_the_socket_of_a_proxy_that_is_gone_makes_room(tmp_path):
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    assert path.exists()
    with listening(parse_local(f"unix:{path}")) as (sock,):
        assert sock.getsockname() == str(path)


def test_what_is_no_socket_stays(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is no socket"):
        with listening(parse_local(f"unix:{path}")):
            pass
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long(tmp_path):
    with pytest.raises(UnavailableError, match="too long"):
        with listening(parse_local(f"unix:{tmp_path / ('x' * 120)}")):
            pass
