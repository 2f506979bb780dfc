from litestar import Litestar, get
from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin

from tests.servers.apps.culprit import culprit


@get("/blocks")
async def blocks() -> str:
    return culprit()


@get("/health")
async def health() -> str:
    return "ok"


app = Litestar([blocks, health], plugins=[OpenTelemetryPlugin(OpenTelemetryConfig())])
