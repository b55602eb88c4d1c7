import asyncio

import pytest

from inferonnx.server.repository import Repository
from inferonnx.server.upkeep import expire_uploads
from inferonnx.server.uploads import Uploads
from inferonnx.sizes import GIB
from sealed_files import announced, make_file


def test_an_upload_expires_though_nobody_announces_another(tmp_path):
    data = make_file()
    repository = Repository(str(tmp_path))
    now_s = 1_000_000.0
    uploads = Uploads(
        repository, quota_bytes=GIB, max_uploads=8, expiry_s=10, clock_s=lambda: now_s
    )
    upload = announced(data)
    made = uploads.create(
        name=upload.name,
        version=upload.version,
        owner=upload.owner,
        model_id=upload.model_id,
        n_bytes=upload.n_bytes,
        sha256=upload.sha256,
        metadata=upload.metadata,
    )
    incoming = tmp_path / ".uploads"

    async def wait(condition):
        task = asyncio.create_task(expire_uploads(uploads, every_s=0.01))
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(wait(lambda: True))
    assert len(uploads) == 1
    assert (incoming / made.id).is_dir()
    now_s += 11
    asyncio.run(wait(lambda: not len(uploads) and not list(incoming.iterdir())))
    repository.close()
