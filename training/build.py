"""Builds the network of a run, reads its start weights, and mixes networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qlumen.errors import TrainingError
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import read_bundle
from qlumen.networks.trained import load_network, network_config
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.quantum.layer import QuantumLayer
from qlumen.quantum.surrogate import check_table_size
from qlumen.training.settings import TrainSettings

SHARE_TOLERANCE = 1e-6


def build_network(settings: TrainSettings) -> UNet:
    """Build the network of a run, with ImageNet weights in the encoder if it starts from them."""
    config = NetworkConfig(bottleneck=bottleneck_config(settings), encoder=settings.encoder)
    network = UNet(config)
    if isinstance(core := network.bottleneck.core, QuantumLayer):
        check_table_size(core.circuit)
        core.method = settings.differentiation
    if settings.pretrained:
        network.encoder.load_imagenet()
    return network


def bottleneck_config(settings: TrainSettings) -> BottleneckConfig:
    return BottleneckConfig(
        settings.bottleneck, settings.qubits, settings.layers, settings.reuploading
    )


@dataclass(frozen=True, slots=True)
class Origin:
    """Holds a bundle's network, and the bundle's hash and provenance."""

    network: UNet
    provenance: dict[str, Any]


def read_network(folder: Path, settings: TrainSettings) -> Origin:
    """Read a bundle's network; raise TrainingError if the settings give another shape."""
    bundle = read_bundle(folder)
    weights = bundle.weights
    config = network_config(bundle.manifest.network)
    held = (config.encoder, config.bottleneck)
    trained = (settings.encoder, bottleneck_config(settings))
    if held != trained:
        raise TrainingError(
            f"{folder} holds {held}, but this run trains {trained}; "
            "use a bundle or settings that match"
        )
    network = load_network(weights, config).eval()
    return Origin(network, {"bundle_sha256": bundle.sha256, **bundle.manifest.provenance})


def mix_networks(network: UNet, others: Sequence[tuple[UNet, float]]) -> UNet:
    """Average weights and batch statistics: others by their shares, `network` by the rest.

    Networks fine-tuned from one another average well, and the mean often keeps the skills of
    all (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", "Model soups").

    Raises:
        TrainingError: the shapes differ, or the shares add up to more than 1
    """
    rest = 1 - sum(share for _, share in others)
    if rest < -SHARE_TOLERANCE:
        raise TrainingError(f"the shares to mix in add up to {1 - rest:g}; use at most 1")
    weights = {
        name: value * rest if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    for other, share in others:
        if network.config != other.config:
            raise TrainingError(f"cannot mix {network.config} with {other.config}; use one shape")
        for name, value in other.state_dict().items():
            if value.is_floating_point():
                weights[name] = weights[name] + share * value
    result = UNet(network.config)
    result.load_state_dict(weights)
    return result.eval()
