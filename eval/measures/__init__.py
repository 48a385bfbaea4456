"""Figures from counts: pure functions."""
