"""The report as one page that needs nothing else."""

from otel_loopblock.run.record import Report


def render(report: Report) -> str:
    """The whole document."""
    return ""
