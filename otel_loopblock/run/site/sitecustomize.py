"""Attaches the process that starts to the command ``otel-loopblock run``."""

from otel_loopblock.run.attached import attach

attach()
