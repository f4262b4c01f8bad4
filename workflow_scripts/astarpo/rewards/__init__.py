"""Rewards: verifiers that judge one response, and the grading of many."""
