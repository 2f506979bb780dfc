"""What works without a backend: the OTLP receiver, decoding, and starting an instrumented service."""
