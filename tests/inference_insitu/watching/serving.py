"""The page of a run, served in a thread of the test's own process."""

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "token-of-the-test"


@dataclass(frozen=True)
class Served:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def ask(
        self, path: str = "", *, method: str = "GET", token: str = TOKEN, body: Any = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body; names of headers with underscores for hyphens, replacing the usual ones."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        host = f"127.0.0.1:{self.port}"
        given = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, f"/{token}/{path}" if token else f"/{path}", data, given)
        response = connection.getresponse()
        answer = response.status, dict(response.getheaders()), response.read()
        connection.close()
        return answer

    def told(self, path: str) -> Any:
        """What the server says at ``path``; JSON as JavaScript takes it."""
        status, _, body = self.ask(path)
        assert status == 200, body

        def refused(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(body, parse_constant=refused)


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """The page of ``folder`` until the block ends."""
    from aiohttp import web

    from inference_insitu.watching.page.server import application

    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application(folder, TOKEN), access_log=None)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(start(), loop).result(timeout=30)
    try:
        yield Served(port)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()
