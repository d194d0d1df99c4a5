"""The lab: real load and real faults on a running platform, and proof that no money was lost.

It sees what a customer sees, HTTP and `touchline.wire`, and reads the books with statements of its own.
"""
