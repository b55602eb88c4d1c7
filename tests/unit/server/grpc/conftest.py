import pytest

from inferonnx.server.grpc import GrpcService
from inferonnx.server.limits import HttpLimits
from serving.h2_client import H2Client
from serving.running import Server
from serving.simulated import Parts


class GrpcServer(Server):
    """A server of gRPC whose models give back what they are given."""

    def __init__(
        self, folder, *, kinds=("float",), ledger_bytes=1 << 30, queue=64, config=None, **changes
    ):
        self.parts = Parts(ledger_bytes=ledger_bytes, queue=queue, **(config or {}))
        names = HttpLimits.__dataclass_fields__
        limits = HttpLimits(**{k: changes.pop(k) for k in list(changes) if k in names})
        self.grpc = GrpcService(self.parts.context, limits=limits, linger_s=1)
        super().__init__(folder, service=self.grpc, protocol="h2", **changes)
        self.grpc._observer = self.notes
        try:
            self.run(self.parts.unlock(*kinds))
        except BaseException:
            self.stop()
            raise

    @property
    def n_pending(self):
        """Requests of the first model that wait or are computed."""
        return self.parts.models.find("float", 1).queue.statistics.n_pending

    def stop(self):
        super().stop()
        self.parts.close()
        assert self.parts.ledger.used_bytes == 0
        assert (self.grpc.commons.n_calls, self.grpc.commons.held_bytes) == (0, 0)


@pytest.fixture
def start(tmp_path):
    """Start servers; when they stop, nothing may be left of any call."""
    started = []

    def begin(**changes):
        started.append(GrpcServer(tmp_path, **changes))
        return started[-1]

    yield begin
    for server in started:
        server.stop()


@pytest.fixture
def server(start):
    return start()


@pytest.fixture
def client(server):
    with H2Client(server) as connected:
        yield connected
