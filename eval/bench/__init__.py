"""Comparisons of speed, one module each; `timing` and `machine` are what they share."""
