"""Faults put into the real stages: kills, signals, flipped bits, full disks, second writers, edits; see `__main__`."""
