"""An embedder with its attention as an ONNX model. Above network and attention."""
