"""Turns the recurrent quadrotor policy of foundation-policy (an HDF5 file) into an ONNX file with its
hidden state as an input and an output, and its embedded test sequences into plain numbers.

    python scripts/quadrotor.py checkpoint.h5 folder

Needs h5py and numpy; scripts/setup brings them. The folder gets `policy.onnx`, and `input.f32`
[500, 2, 22] and `output.f32` [500, 2, 4], row-major, little-endian.
"""

import pathlib
import sys

import h5py
import numpy as np


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def message(field, contents):
    if isinstance(contents, str):
        contents = contents.encode()
    return varint(field << 3 | 2) + varint(len(contents)) + contents


def tensor(name, values):
    """TensorProto: f32 or i64, raw data."""
    kind = 7 if values.dtype == np.int64 else 1
    dims = b"".join(number(1, size) for size in values.shape)
    little = values.astype(values.dtype.newbyteorder("<"))
    return message(5, dims + number(2, kind) + message(8, name) + message(9, little.tobytes()))


def value(field, name, shape):
    """ValueInfoProto of an f32 tensor."""
    dims = b"".join(message(1, number(1, size)) for size in shape)
    kind = message(1, number(1, 1) + message(2, dims))
    return message(field, message(1, name) + message(2, kind))


def node(op, inputs, outputs, **integers):
    """NodeProto whose attributes are integers."""
    body = b"".join(message(1, name) for name in inputs)
    body += b"".join(message(2, name) for name in outputs) + message(4, op)
    for name, integer in integers.items():
        body += message(5, message(1, name) + number(3, integer) + number(20, 2))
    return message(1, body)


def gates(parameters):
    """From reset, update, new to ONNX's order: update, reset, new."""
    reset, update, new = np.split(parameters, 3)
    return np.concatenate([update, reset, new])


def network(layers):
    def of(path):
        return np.asarray(layers[path + "/parameters"], dtype=np.float32)

    assert [layers[str(i)].attrs["type"] for i in range(3)] == ["dense", "gru", "dense"]
    assert layers["0"].attrs["activation_function"] == "RELU"
    assert layers["2"].attrs["activation_function"] == "IDENTITY"
    assert not of("1/initial_hidden_state").any()
    first, last = of("0/weights"), of("2/weights")
    hidden = of("1/weights_hidden")
    size = hidden.shape[1]
    bias = np.concatenate([gates(of("1/biases_input")), gates(of("1/biases_hidden"))])
    graph = node("Gemm", ["observation", "w0", "b0"], ["dense"], transB=1)
    graph += node("Relu", ["dense"], ["features"])
    graph += node("Unsqueeze", ["features", "axis"], ["sequence"])
    # The bias of the new state lies inside the product with the reset gate.
    graph += node(
        "GRU",
        ["sequence", "w1", "r1", "b1", "", "hidden_in"],
        ["", "hidden_out"],
        hidden_size=size,
        linear_before_reset=1,
    )
    graph += node("Squeeze", ["hidden_out", "axis"], ["hidden"])
    graph += node("Gemm", ["hidden", "w2", "b2"], ["motors"], transB=1)
    graph += message(2, "quadrotor")
    constants = {
        "w0": first,
        "b0": of("0/biases").reshape(-1),
        "axis": np.array([0], dtype=np.int64),
        "w1": gates(of("1/weights_input"))[None],
        "r1": gates(hidden)[None],
        "b1": bias[None],
        "w2": last,
        "b2": of("2/biases").reshape(-1),
    }
    for name, values in constants.items():
        graph += tensor(name, values)
    graph += value(11, "observation", [1, first.shape[1]]) + value(11, "hidden_in", [1, 1, size])
    graph += value(12, "motors", [1, last.shape[0]]) + value(12, "hidden_out", [1, 1, size])
    # IR version 8, operator set 14.
    return number(1, 8) + message(2, "sinew") + message(7, graph) + message(8, message(1, "") + number(2, 14))


def main():
    checkpoint, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(checkpoint) as file:
        (folder / "policy.onnx").write_bytes(network(file["actor/layers"]))
        for name in ("input", "output"):
            values = np.asarray(file[f"example/{name}"], dtype="<f4")
            (folder / f"{name}.f32").write_bytes(values.tobytes())


main()
