"""How hard Hypothesis tries: the same examples on every run where `CI` is set, new ones elsewhere."""

import os

from hypothesis import settings

settings.register_profile("here", deadline=None, max_examples=150, stateful_step_count=40)
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
