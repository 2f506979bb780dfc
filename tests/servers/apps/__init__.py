"""The same service in each framework: ``/blocks`` blocks, ``/health`` does not."""
