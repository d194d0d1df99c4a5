"""The parts of a report: charts that every run has, and what each kind of run shows beside them."""
