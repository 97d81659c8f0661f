"""Defines and simulates circuits of qubits as a layer of the network, and makes their tables."""
