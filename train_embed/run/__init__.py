"""One training run: what a step changes, the loop, its folder, what a person sees of it."""
