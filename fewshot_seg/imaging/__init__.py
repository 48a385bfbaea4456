"""All image input and output: decoding, finding, resizing, drawing, writing."""
