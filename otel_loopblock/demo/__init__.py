"""The demonstration: a service that blocks its loop, load for it, a receiver for its telemetry, and a report.

Needs the extra ``demo``; :mod:`otel_loopblock.local.receiver` needs only ``otlp``, and serves tests as well.
"""
