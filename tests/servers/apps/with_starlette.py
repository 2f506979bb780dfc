from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.servers.apps.culprit import culprit


async def blocks(request):
    return PlainTextResponse(culprit())


async def health(request):
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/blocks", blocks), Route("/health", health)])
