"""What a server does unasked, from time to time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.server.uploads import Uploads

EXPIRY_CHECK_S = 60
"""How often uploads are looked for with which nobody has gone on."""


async def expire_uploads(uploads: Uploads, *, every_s: float) -> None:
    """Remove what has expired, for ever: nobody has to announce another upload for that."""
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(uploads.expire)
