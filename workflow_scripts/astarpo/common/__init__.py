"""What all packages share: errors, files, the command line, columns, seeds, provenance, devices."""
