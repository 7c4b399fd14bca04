"""Serves the page: ``cdi insitu view FOLDER``.

Everything shown is read from the run's files, so the view works beside the run and after it. The server answers on
127.0.0.1 alone, and what the browser may do there is said in ``guard``.
"""

import asyncio
import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cdi.errors import RunError
from inference_insitu.watching.newest_result import newest_result
from inference_insitu.watching.page.followed_run import FollowedRun
from inference_insitu.watching.page.guard import HEADERS, new_token, refusal
from inference_insitu.watching.page.proposal import propose
from inference_insitu.watching.page.scene import scene
from inference_insitu.watching.page.snapshot import plain, snapshot

T = TypeVar("T")

ADDRESS = "127.0.0.1"
READ_TIMEOUT_S = 30.0
"""A file system that hangs must not hang the page with it."""
MOST_BODY_BYTES = 4096
STATIC = {
    "": ("index.html", "text/html"),
    "view.css": ("view.css", "text/css"),
    "view.js": ("view.js", "text/javascript"),
    "steps.js": ("steps.js", "text/javascript"),
    "scene.js": ("scene.js", "text/javascript"),
}


class Page:
    """The handlers of one run's page."""

    def __init__(self, folder: Path) -> None:
        self._run = FollowedRun(folder)
        # One thread: what is read is changed by reading it, and HDF5 does one thing at a time anyway.
        self._reader = ThreadPoolExecutor(1)

    async def static(self, request: web.Request) -> web.Response:
        """A file of the page itself."""
        name, kind = STATIC[request.match_info.get("name", "")]
        content = resources.files(__package__).joinpath("static", name).read_bytes()
        return web.Response(body=content, content_type=kind, charset="utf-8")

    async def state(self, request: web.Request) -> web.Response:
        """Rates, latency, ledger, workers, events, steering."""

        def read() -> dict[str, Any]:
            self._run.refresh()
            return snapshot(self._run)

        return _json(await self._read(read))

    async def history(self, request: web.Request) -> web.Response:
        """The numbers of one stream over its steps."""
        stream = request.query.get("stream", "")
        return _json(await self._read(lambda: self._run.history.columns(stream)))

    async def result(self, request: web.Request) -> web.Response:
        """The newest result of a stream, or the newest up to a step, with what is drawn of it."""
        stream, step = request.query.get("stream", ""), request.query.get("step")
        if step is not None and not (step.isdecimal() and len(step) < 19):
            raise web.HTTPBadRequest(text=f"step must be a whole number, got {step[:40]!r}\n")

        def read() -> dict[str, Any]:
            found = newest_result(self._run.folder, stream, None if step is None else int(step))
            drawn = None if found.result is None else scene(found.result)
            return {"stream": stream, "file": found.file, "problems": found.problems[:20], "result": drawn}

        try:
            return _json(await self._read(read))
        except MemoryError:
            return _json({"stream": stream, "file": "", "problems": ["its volumes do not fit in memory"]})

    async def propose(self, request: web.Request) -> web.Response:
        """Leave a command for the run."""
        try:
            asked = await request.json()
            name, value = str(asked["name"]), asked.get("value")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise web.HTTPBadRequest(text="a command must be an object with a name and a value\n") from None
        newest = [stream.newest_step or 0 for stream in self._run.state.streams.values()]

        def leave() -> dict[str, Any]:
            command = propose(self._run.folder, name, value, step=max(newest, default=0))
            return {"proposed": str(command), "origin": command.origin}

        try:
            return _json(await self._read(leave))
        except ValueError as error:
            return _json({"refused": str(error)}, status=422)
        except (RunError, OSError) as error:
            return _json({"refused": str(error)}, status=409)

    async def _read(self, work: Callable[[], T]) -> T:
        reading = asyncio.get_running_loop().run_in_executor(self._reader, work)
        try:
            return await asyncio.wait_for(reading, READ_TIMEOUT_S)
        except TimeoutError:
            raise web.HTTPServiceUnavailable(text="the run's files do not read in time\n") from None


def application(folder: Path, token: str) -> web.Application:
    """The page of the run in ``folder`` under ``/token/``."""
    page = Page(folder)
    served = web.Application(middlewares=[_guarded_by(token)], client_max_size=MOST_BODY_BYTES)
    prefix = "/" + token
    names = "|".join(name.replace(".", r"\.") for name in STATIC if name)
    served.add_routes(
        [
            web.get(prefix + "/", page.static),
            web.get(f"{prefix}/{{name:{names}}}", page.static),
            web.get(prefix + "/state", page.state),
            web.get(prefix + "/history", page.history),
            web.get(prefix + "/result", page.result),
            web.post(prefix + "/propose", page.propose),
        ]
    )
    return served


def serve(folder: Path, port: int = 0) -> None:
    """Serve the page of the run in ``folder`` until Ctrl-C; its address goes to the standard output.

    Raises
    ------
    ValueError
        If ``port`` is taken or no port.
    """
    try:
        listening = socket.create_server((ADDRESS, port))
    except (OSError, OverflowError) as error:
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        why = "is taken; give another, or none to take any" if taken else f"cannot be opened: {error}"
        raise ValueError(f"port must be free, got {port}, which {why}") from error
    try:
        asyncio.run(_serve(folder, listening))
    except KeyboardInterrupt:
        return


async def _serve(folder: Path, listening: socket.socket) -> None:
    token = new_token()
    # No log of requests: their addresses hold the token.
    runner = web.AppRunner(application(folder, token), access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        port = listening.getsockname()[1]
        print(f"http://{ADDRESS}:{port}/{token}/", flush=True)
        print(
            f"cdi: open it in a browser on this machine; from another one, first: "
            f"ssh -N -L {port}:{ADDRESS}:{port} {os.uname().nodename}\n"
            f"cdi: Ctrl-C ends the view, not the run; in a terminal: cdi insitu watch {folder}",
            file=sys.stderr,
            flush=True,
        )
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _guarded_by(token: str) -> Middleware:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        problem = refusal(request.method, request.path, request.headers, token)
        try:
            if problem is not None:
                raise web.HTTPForbidden(text=problem + "\n")
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        response.headers.update(HEADERS)
        return response

    return guarded


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(plain(value), allow_nan=False), status=status, content_type="application/json")
