"""The rules of betting, pure: no I/O, no clock, no randomness, no logging."""
