"""PgBouncer for tests, where the system has it."""

import pytest

from touchline.runtime.pgbouncer import program

needs_pgbouncer = pytest.mark.skipif(program() is None, reason="no pgbouncer here: install it to run these tests")
