"""The version, read by the build and sent as the version of the instrumentation scope."""

__version__ = "0.1.0"
