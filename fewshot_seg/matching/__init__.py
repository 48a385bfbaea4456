"""Positions of a query compared with those of supports: which belong to the object."""
