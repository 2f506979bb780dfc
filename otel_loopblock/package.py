"""What the package instruments, in the form that opentelemetry-bootstrap and contrib tools read."""

_instruments: tuple[str, ...] = ()
"""Nothing needs to be installed: asyncio is part of Python, uvloop is optional."""

_supports_metrics = True

_semconv_status = "development"
