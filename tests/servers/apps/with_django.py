from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

from tests.servers.apps.culprit import culprit


async def blocks(request):
    return HttpResponse(culprit())


async def health(request):
    return HttpResponse("ok")


urlpatterns = [path("blocks", blocks), path("health", health)]

app = get_asgi_application()
