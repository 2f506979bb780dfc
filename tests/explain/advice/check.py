"""``python -m tests.explain.advice.check``: looks in the installed libraries for all that the table names.

Prints what was found, what is not installed here, what is wrong. Exit code: 1 when something is wrong.
"""

from __future__ import annotations

import sys
from collections import Counter

from otel_loopblock.explain.advice.table import ENTRIES
from tests.explain.advice.names import Finding, look


def main() -> int:
    """Check all entries, print the table."""
    findings = [(entry, look(entry)) for entry in ENTRIES]
    by_library: dict[str, list[Finding]] = {}
    for entry, finding in findings:
        by_library.setdefault(entry.pattern.partition(".")[0], []).append(finding)
    for library, found in sorted(by_library.items()):
        counts = Counter(finding.status for finding in found)
        reasons = sorted({finding.what for finding in found if finding.status == "not installed"})
        text = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        print(f"{library:24} {text}" + (f": {', '.join(reasons)}" if reasons else ""))
    for entry, finding in findings:
        if finding.status == "wrong":
            print(f"WRONG {entry.pattern}: {finding.what}")
    counts = Counter(finding.status for _, finding in findings)
    print(f"{len(findings)} entries: " + ", ".join(f"{n} {status}" for status, n in counts.most_common()))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
