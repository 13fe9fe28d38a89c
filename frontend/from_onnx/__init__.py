"""ONNX files, checked and imported through TVM."""
