"""``otel-loopblock attach PID``: watches a process that runs already, and takes everything out again.

``injected``, ``target``, ``watcher``, ``waiters``, ``running`` and ``messages`` run in the watched process.
They import no OpenTelemetry, which may not be installed there. The rest belongs to the command.
"""
