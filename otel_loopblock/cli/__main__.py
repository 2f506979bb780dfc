"""``python -m otel_loopblock.cli``."""

import sys

from otel_loopblock.cli import main

sys.exit(main())
