"""Episodes of segmentation: plan, predict, score."""
