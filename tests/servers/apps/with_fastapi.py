from fastapi import FastAPI

from tests.servers.apps.culprit import culprit

app = FastAPI()


@app.get("/blocks")
async def blocks():
    return culprit()


@app.get("/health")
async def health():
    return "ok"
