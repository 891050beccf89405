# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/gguf_blocks.gguf (a tensor of every type that Quiver reads, some metadata) and
tests/golden/gguf_blocks.safetensors (the float32 values that the public gguf package expands them to).

Quantised blocks hold random bits with scales of moderate size, so that each bit of a block matters. Made with gguf
0.19.0, numpy 2.4.6, safetensors 0.8.0; run: python tools/goldens/gguf_blocks.py
"""
from pathlib import Path

import gguf
import numpy
import safetensors.numpy

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
Type = gguf.GGMLQuantizationType
# Where a block keeps its float16 scales.
SCALES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
          Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208], Type.Q2_K: [80, 82], Type.Q3_K: [108],
          Type.IQ4_NL: [0], Type.IQ4_XS: [0]}
ROWS, BLOCKS_PER_ROW = 3, 2


def random_blocks(kind, generator):
    """[ROWS, BLOCKS_PER_ROW * bytes of a block] of random bits, the scales between -2 and 2."""
    _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (ROWS * BLOCKS_PER_ROW, block_bytes), dtype=numpy.uint8)
    for at in SCALES[kind]:
        scales = generator.uniform(-2, 2, (len(blocks), 1)).astype(numpy.float16)
        blocks[:, at:at + 2] = scales.view(numpy.uint8)
    return blocks.reshape(ROWS, -1)


def plain_bytes(kind, values):
    """The stored form of float32 values, and what they read as."""
    if kind == Type.F32:
        return values, values
    if kind == Type.F16:
        return values.astype(numpy.float16), values.astype(numpy.float16).astype(numpy.float32)
    stored = gguf.quants.quantize(values, Type.BF16)
    return stored, gguf.quants.dequantize(stored, Type.BF16)


def add_metadata(writer):
    writer.add_string("test.text", "Käse")
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -100)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4000000000)
    writer.add_int32("test.i32", -2000000000)
    writer.add_uint64("test.u64", 2**63 - 1)
    writer.add_int64("test.i64", -2**63)
    writer.add_float32("test.f32", 0.5)
    writer.add_float64("test.f64", 0.1)
    writer.add_bool("test.yes", True)
    writer.add_bool("test.no", False)
    writer.add_array("test.texts", ["a", "", "ü"])
    writer.add_array("test.wholes", [3, -4, 5])
    writer.add_array("test.reals", [0.25, -1.5])
    writer.add_array("test.flags", [True, False, True])


def main():
    generator = numpy.random.default_rng(20)
    writer = gguf.GGUFWriter(GOLDEN / "gguf_blocks.gguf", "llama")
    add_metadata(writer)
    expected = {}
    for kind in (Type.F32, Type.F16, Type.BF16):
        values = generator.standard_normal((ROWS, 5)).astype(numpy.float32)
        stored, expected[kind.name] = plain_bytes(kind, values)
        writer.add_tensor(kind.name, stored, raw_dtype=kind)
    for kind in SCALES:
        blocks = random_blocks(kind, generator)
        expected[kind.name] = gguf.quants.dequantize(blocks, kind)
        writer.add_tensor(kind.name, blocks, raw_dtype=kind)
    cube = numpy.arange(24, dtype=numpy.float32).reshape(2, 3, 4)
    expected["cube"] = cube
    writer.add_tensor("cube", cube)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    safetensors.numpy.save_file(expected, GOLDEN / "gguf_blocks.safetensors", {"gguf": "0.19.0"})


if __name__ == "__main__":
    main()
