"""Circuits of qubits as a layer of the network: their definition, simulation and tables."""
