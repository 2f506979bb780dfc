"""Blocks in, telemetry out: spans, metrics, logs. Nothing here knows a loop."""
