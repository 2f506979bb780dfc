"""What each of them calls."""

import time

BLOCK_S = 0.08


def culprit() -> str:
    time.sleep(BLOCK_S)
    return "done"
