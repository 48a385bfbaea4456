"""The segmenter: supports encoded once, any number of queries."""
