"""What is fitted to a trained network after training."""

import qlumen.networks  # noqa: F401 -- keeps OpenVINO from telling its makers
