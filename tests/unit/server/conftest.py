import pytest

from serving.running import Server, echo


@pytest.fixture
def start(tmp_path):
    """Start servers; they stop with the test."""
    started = []

    def begin(handler=echo, **changes):
        started.append(Server(tmp_path, handler, **changes))
        return started[-1]

    yield begin
    for server in started:
        server.stop()


@pytest.fixture
def server(start):
    """A server that echoes."""
    return start()
