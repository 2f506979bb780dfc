"""The endpoint benchmark: a real server under load, and an innocent endpoint that is asked meanwhile.

Three kinds of processes: the server (``opentelemetry-instrument uvicorn``), two clients (:mod:`.client`, one
for the load, one for the probe) and this one, which starts and asks them and shows what came out.
"""
