"""The pages: static files under a strict content security policy."""

from importlib import resources
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from touchline.core.errors import Code
from touchline.wire.problems_v1 import CONTENT_TYPE, STATUS_OF_CODE, problem

HEADERS: Final = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # kept, but asked for again: a deploy shows at once
}


def pages() -> ASGIApp:
    """Return the application that serves the bettor's page at `/`, the desk at `/desk`, and what they need."""
    folder = Path(str(resources.files("touchline"))) / "web"

    async def page(request: Request) -> FileResponse:
        return FileResponse(folder / ("desk.html" if request.url.path == "/desk" else "index.html"))

    async def nothing(_request: Request, _wrong: Exception) -> Response:
        document = problem(Code.NOT_FOUND, "there is nothing at this address")
        return Response(document, STATUS_OF_CODE[Code.NOT_FOUND], media_type=CONTENT_TYPE)

    async def wrong_method(_request: Request, _wrong: Exception) -> Response:
        document = problem(Code.METHOD_NOT_ALLOWED, "use GET or HEAD")
        status = STATUS_OF_CODE[Code.METHOD_NOT_ALLOWED]
        return Response(document, status, {"allow": "GET, HEAD"}, media_type=CONTENT_TYPE)

    application = Starlette(
        routes=[
            Route("/", page),
            Route("/desk", page),
            Mount("/static", StaticFiles(directory=folder / "static")),
        ],
        exception_handlers={404: nothing, 405: wrong_method},
    )
    return _WithHeaders(application)


class _WithHeaders:
    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._inner(scope, receive, send_with_headers)
