"""What a configuration takes on a machine, computed before anything runs, and what the machine at hand has."""
