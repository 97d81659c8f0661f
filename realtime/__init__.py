"""The video path."""

import qlumen.networks  # noqa: F401 -- keeps OpenVINO from telling its makers
