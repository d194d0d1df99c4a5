"""What the platform does, one verb a file, over ports alone."""
