"""Faults on purpose: signals, kills, full disks, other runs. Each is a row of a table, see fault.Fault.

The tables are in modules by class. A few rows run with the other tests, by test_faults.py; all others run by
tests/integration/test_faults.py.
"""
