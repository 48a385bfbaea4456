"""Searching a collection of images by their embeddings."""
