"""What enters and leaves the process: msgspec structs, versioned by module; never imported by the core."""
