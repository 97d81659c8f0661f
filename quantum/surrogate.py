"""Replaces a circuit with frozen weights, exactly, by a finite table of coefficients.

    fourier  An input encoded d times enters every expectation value as a trigonometric
             polynomial of degree d. Sampling at 2d + 1 angles per input gives as many
             equations as coefficients. They separate by input: (2d + 1)^n in all.
    bloch    A qubit's state is linear in (1, x, y, z), its Bloch vector. Sampling with each
             qubit in four states that span these gives 4^n equations, also separable.
    parts    `hqconv` is two such circuits. Before its columns are filtered, its rows are a
             product state. A read-out sees one qubit of each row, so only the Bloch vectors
             of a row count. One table serves all rows, one all columns.

No approximation is involved. `docs/quantum.md` derives this, after Schreiber, Eisert, Meyer,
"Classical surrogates for quantum learning models" (2022).
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, pi

import numpy as np

from qlumen.errors import CircuitError
from qlumen.quantum.circuits import ANGLES_PER_CELL, Circuit
from qlumen.quantum.devices import Device, FloatArray

MAX_TABLE_ROWS = 20_000
"""Bound of one table. Above it, the products of a frame alone exceed the caches: 121 positions
of 20,000 rows take 10 MB, and sampling takes one circuit run per row."""
BASIS_STATES: FloatArray = np.array([[0, 0, 0], [pi, 0, 0], [0, pi / 2, 0], [-pi / 2, 0, 0]])
"""RX, RY, RZ angles, in radians, of the states |0>, |1>, |+> and |+i>."""
ERROR_INPUTS = 200
ERROR_REPLICAS = 20
ERROR_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """Holds the tables that replace a circuit.

    Attributes:
        tables: one `(products, outputs) float64`, or two, of a row and of a column; the last
            input's factor varies fastest.
        circuit_runs: number of inputs that `device` ran.
        standard_error: standard error of an output from the shots; 0 without shots.
    """

    circuit: Circuit
    tables: tuple[FloatArray, ...]
    circuit_runs: int
    device: Device
    standard_error: float = 0.0

    def __call__(self, angles: FloatArray) -> FloatArray:
        """Map `(rows, n_inputs)` angles in radians to `(rows, n_outputs)` expectation values."""
        return _evaluate(self.circuit, self.tables, angles)


def sample_surrogate(
    circuit: Circuit, weights: FloatArray, device: Device | None = None
) -> Surrogate:
    """Run `circuit` with frozen `weights` on the grid of inputs, and solve for its tables.

    Raises:
        CircuitError: a table is over the bound, or a circuit with parts has noise.
        MissingExtraError: the device is not available.
    """
    device = device or Device()
    check_table_size(circuit)
    device.check(circuit)
    if circuit.parts and device.noisy:
        raise CircuitError(
            f"{circuit.name} cannot be sampled with noise: the noise of its rows would count "
            "twice; run it live, or study noise on a vqc"
        )
    parts = circuit.parts or (circuit,)
    grids = [sampling_grid(part) for part in parts]
    shares = weights if circuit.parts else (weights,)
    samples = [
        device.run(part, share, grid)
        for part, share, grid in zip(parts, shares, grids, strict=True)
    ]
    tables = tuple(_solve(part, values) for part, values in zip(parts, samples, strict=True))
    runs = sum(len(grid) for grid in grids)
    error = _standard_error(circuit, samples, device.shots) if device.shots else 0.0
    return Surrogate(circuit, tables, runs, device, error)


def table_shapes(circuit: Circuit) -> tuple[tuple[int, int], ...]:
    """Return the rows and columns of the tables that `circuit` needs."""
    parts = circuit.parts or (circuit,)
    return tuple((_factor_count(p) ** _factors_per_row(p), p.n_outputs) for p in parts)


def check_table_size(circuit: Circuit) -> None:
    """Raise CircuitError if a table of `circuit` is over the bound."""
    for rows, columns in table_shapes(circuit):
        if rows > MAX_TABLE_ROWS:
            megabytes = rows * columns * 8 / 1e6
            raise CircuitError(
                f"the exact table of {circuit.name} has {rows} rows x {columns} outputs "
                f"({megabytes:.1f} MB), over the bound of {MAX_TABLE_ROWS} rows; run it live: "
                "quantum.executor=lightning.qubit (or lightning.gpu), or take fewer qubits"
            )


def sampling_grid(circuit: Circuit) -> FloatArray:
    """Return the `(rows, n_inputs)` angles, radians, that determine a circuit without parts."""
    points = _sampling_points(circuit)
    places = itertools.product(points, repeat=_factors_per_row(circuit))
    return np.array([np.ravel(place) for place in places])


def trigonometric_products(angles: FloatArray, degree: int = 1) -> FloatArray:
    """Return the products of `qlumen.quantum.modules.trigonometric_products` in numpy."""
    return _products(_harmonics(angles, degree))


def bloch_vectors(angles: FloatArray) -> FloatArray:
    """Map `(..., 3)` angles of RX, RY, RZ on |0> to `(..., 4)`: 1 and the Bloch vector."""
    (ca, cb, cc), (sa, sb, sc) = (np.moveaxis(f(angles), -1, 0) for f in (np.cos, np.sin))
    x = cc * sb * ca + sc * sa
    y = sc * sb * ca - cc * sa
    return np.stack([np.ones_like(x), x, y, cb * ca], axis=-1)


def array_sha256(array: FloatArray) -> str:
    """Hash the shape and values of an array."""
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def cache_key(circuit: Circuit, weights: FloatArray, device: Device) -> str:
    """Hash everything that the tables depend on."""
    text = f"{circuit.name} {array_sha256(weights)} {device}"
    return hashlib.sha256(text.encode()).hexdigest()


def _evaluate(circuit: Circuit, tables: Sequence[FloatArray], angles: FloatArray) -> FloatArray:
    if circuit.parts:
        return _separable(circuit, tables[0], tables[1], angles)
    return _basis(circuit, angles) @ tables[0]


def _separable(
    circuit: Circuit, row_table: FloatArray, column_table: FloatArray, angles: FloatArray
) -> FloatArray:
    n, side = len(angles), isqrt(circuit.n_qubits)
    states = bloch_vectors(angles.reshape(n, side, side, ANGLES_PER_CELL))
    rows = _products(states.reshape(n * side, side, 4)) @ row_table
    mixed = np.ones((n, side, side, 4))
    mixed[..., 1:] = rows.reshape(n, side, side, 3)
    columns = mixed.transpose(0, 2, 1, 3).reshape(n * side, side, 4)
    out = _products(columns) @ column_table
    return out.reshape(n, side, side, 2).transpose(0, 2, 1, 3).reshape(n, circuit.n_outputs)


def _basis(circuit: Circuit, angles: FloatArray) -> FloatArray:
    if circuit.encoding == "fourier":
        return trigonometric_products(angles, circuit.uploads)
    return _products(bloch_vectors(angles.reshape(len(angles), -1, ANGLES_PER_CELL)))


def _products(factors: FloatArray) -> FloatArray:
    """Multiply `(rows, n, k)` to `(rows, k^n)`; the last factor varies fastest."""
    products = factors[:, 0]
    for i in range(1, factors.shape[1]):
        products = (products[:, :, None] * factors[:, None, i]).reshape(len(factors), -1)
    return products


def _harmonics(x: FloatArray, degree: int) -> FloatArray:
    waves = [np.ones_like(x)]
    for k in range(1, degree + 1):
        waves += [np.cos(k * x), np.sin(k * x)]
    return np.stack(waves, axis=-1)


def _solve(circuit: Circuit, samples: FloatArray) -> FloatArray:
    """Compute the table of a circuit without parts from its values on the sampling grid."""
    points = _sampling_points(circuit)
    fourier = circuit.encoding == "fourier"
    factors = _harmonics(points[:, 0], circuit.uploads) if fourier else bloch_vectors(points)
    to_coefficients = np.asarray(np.linalg.inv(factors), dtype=np.float64)
    k, n = len(points), _factors_per_row(circuit)
    table = samples.reshape([k] * n + [circuit.n_outputs])
    for axis in range(n):
        table = np.moveaxis(np.tensordot(to_coefficients, table, axes=(1, axis)), 0, axis)
    return table.reshape(k**n, circuit.n_outputs)


def _sampling_points(circuit: Circuit) -> FloatArray:
    """Return the points at which each factor is sampled, `(k, angles of a factor)`."""
    if circuit.encoding == "bloch":
        return BASIS_STATES
    k = _factor_count(circuit)
    return np.linspace(0, 2 * pi, k, endpoint=False)[:, None]


def _factor_count(circuit: Circuit) -> int:
    return 2 * circuit.uploads + 1 if circuit.encoding == "fourier" else len(BASIS_STATES)


def _factors_per_row(circuit: Circuit) -> int:
    return circuit.n_inputs if circuit.encoding == "fourier" else circuit.n_qubits


def _standard_error(circuit: Circuit, samples: Sequence[FloatArray], shots: int) -> float:
    """Return the root mean square deviation of outputs for samples redrawn with shot noise.

    A mean of `shots` results of +1 or -1 has the variance (1 - mean^2) / shots.
    """
    rng = np.random.default_rng(ERROR_SEED)
    angles = rng.uniform(-pi, pi, (ERROR_INPUTS, circuit.n_inputs))
    spreads = [np.sqrt(np.maximum(1 - s**2, 1 / shots) / shots) for s in samples]
    parts = circuit.parts or (circuit,)
    outputs = []
    for _ in range(ERROR_REPLICAS):
        drawn = [
            s + spread * rng.standard_normal(s.shape)
            for s, spread in zip(samples, spreads, strict=True)
        ]
        tables = [_solve(part, values) for part, values in zip(parts, drawn, strict=True)]
        outputs.append(_evaluate(circuit, tables, angles))
    return float(np.sqrt(np.var(outputs, axis=0, ddof=1).mean()))
