"""Batches of images, as pure functions of (seed, epoch, number)."""
