"""Measuring fewshot_seg on episodes of a data set. Imports fewshot_seg; nothing there imports this."""
