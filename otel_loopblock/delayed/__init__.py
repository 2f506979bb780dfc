"""Who had to wait for a callback: the queues of loops, and what arrived meanwhile. Knows no OpenTelemetry."""
