import sys

from aiohttp import web

from tests.servers.apps.culprit import culprit


async def blocks(request):
    return web.Response(text=culprit())


async def health(request):
    return web.Response(text="ok")


def main() -> None:
    port, loop = sys.argv[1:]
    app = web.Application()
    app.add_routes([web.get("/blocks", blocks), web.get("/health", health)])
    if loop == "uvloop":
        import uvloop

        uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(port), print=None)


if __name__ == "__main__":
    main()
