"""`fewshot-seg serve`: a page for people and an interface for programs, over the same engine."""
