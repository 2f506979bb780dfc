"""The trial of full loops: ``python -m tests.saturation`` prints its tables."""
