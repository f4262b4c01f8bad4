"""Rewards: verifiers for single responses, and grading in bulk."""
