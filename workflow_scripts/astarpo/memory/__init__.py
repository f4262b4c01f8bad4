"""How much memory a stage takes, from a model's shape and the settings: arithmetic only, nothing is loaded."""
