"""One module for each architecture: `cases(out)` writes all of its cases and returns their names."""
