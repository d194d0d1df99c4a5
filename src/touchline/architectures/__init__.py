"""Where adapters are picked and flows are wired; each architecture reads on one screen."""
