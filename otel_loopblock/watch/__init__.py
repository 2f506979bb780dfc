"""Looks at loops: a monitor per loop, the watchdog, what was seen. Knows no OpenTelemetry, judges nothing."""
