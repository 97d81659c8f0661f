"""Runs the network with OpenVINO, ONNX Runtime, torch or TensorRT behind one interface."""
