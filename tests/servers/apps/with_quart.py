from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from quart import Quart

from tests.servers.apps.culprit import culprit

app = Quart(__name__)
app.asgi_app = OpenTelemetryMiddleware(app.asgi_app)


@app.get("/blocks")
async def blocks():
    return culprit()


@app.get("/health")
async def health():
    return "ok"
