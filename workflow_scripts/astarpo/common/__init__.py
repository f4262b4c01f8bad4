"""What every room uses: errors, files, the command line, columns, seeds, provenance, devices."""
