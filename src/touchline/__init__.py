"""touchline: a live sports betting platform, one betting core in three architectures."""

__version__ = "0.1.0"
