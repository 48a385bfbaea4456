"""From a map to a mask at native size: pure functions of arrays."""
