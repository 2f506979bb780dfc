import sys

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from sanic import Sanic, text

from tests.servers.apps.culprit import culprit

service = Sanic("service")


@service.get("/blocks")
async def blocks(request):
    return text(culprit())


@service.get("/health")
async def health(request):
    return text("ok")


app = OpenTelemetryMiddleware(service)
"""For another server. Its own has no part for a middleware of ASGI."""

if __name__ == "__main__":
    service.config.USE_UVLOOP = sys.argv[2] == "uvloop"
    service.run(host="127.0.0.1", port=int(sys.argv[1]), single_process=True, access_log=False)
