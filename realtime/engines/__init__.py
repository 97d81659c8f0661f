"""What runs the network: OpenVINO, ONNX Runtime, torch or TensorRT behind one interface."""
