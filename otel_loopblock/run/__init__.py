"""``otel-loopblock run``: a service started instrumented, and what blocks its loops, live and at the end.

``attached``, ``sending`` and ``site`` are imported by the service; the rest belongs to the command. Needs the
extra ``run``.
"""
