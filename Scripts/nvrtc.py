"""NVIDIA's run-time compiler through ctypes, for the scripts that compile the GPU kernels."""

import ctypes
import pathlib
import re

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "Sources" / "CUDAKernels"


class CompilationFailed(Exception):
    """The message is the compiler's log."""


class Compiler:
    def __init__(self, folder):
        """Opens the compiler in `folder`, which also holds its built-in functions."""
        builtins = min(folder.glob("libnvrtc-builtins.so.*"), key=lambda path: len(path.name))
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(
            str(min(folder.glob("libnvrtc.so.*"), key=lambda path: len(path.name))))

    def compile(self, source, macros, architecture):
        """The machine code of a kernel of this package, and the compiler's log."""
        nvrtc = self.library
        headers = {path.relative_to(folder): path.read_bytes()
                   for folder, pattern in ((SOURCES, "*/*.cuh"), (SOURCES / "include", "*/*.h"))
                   for path in sorted(folder.glob(pattern))}
        strings = ctypes.c_char_p * len(headers)
        names = strings(*[str(path).encode() for path in headers])
        texts = strings(*headers.values())
        program = ctypes.c_void_p()
        text = (SOURCES / source).read_bytes()
        status = nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), text, source.encode(), len(headers), texts, names)
        if status:
            raise CompilationFailed(f"nvrtcCreateProgram gives {status}")
        options = [f"--gpu-architecture={architecture}", "--std=c++17", "-default-device",
                   "--ptxas-options=-v"] + [f"-D{macro}" for macro in macros]
        array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        status = nvrtc.nvrtcCompileProgram(program, len(options), array)
        log = self._bytes(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
        log = log.rstrip(b"\0").decode()
        try:
            if status:
                raise CompilationFailed(log)
            return self._bytes(program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN), log
        finally:
            nvrtc.nvrtcDestroyProgram(ctypes.byref(program))

    @staticmethod
    def _bytes(program, size_of, fill):
        size = ctypes.c_size_t()
        size_of(program, ctypes.byref(size))
        data = ctypes.create_string_buffer(size.value)
        fill(program, data)
        return data.raw


def reported(log):
    """Registers a thread, and bytes of them that spill, from the compiler's log."""
    registers = re.search(r"Used (\d+) registers", log)
    spilled = re.search(r"(\d+) bytes spill stores", log)
    return int(registers[1]) if registers else 0, int(spilled[1]) if spilled else 0


FEATURES = ["PACKED", "KEY_MASK", "COSINE", "TERMS", "HEAD_SCALES"]


def flash(dimensions, element="bf16", **features):
    """Macros that all kernels of exact attention take; FEATURES and others by name, absent ones are 0."""
    macros = {"KEY_DIMENSION": dimensions[0], "VALUE_DIMENSION": dimensions[1],
              **dict.fromkeys(FEATURES, 0), **features}
    return [f"ELEMENT={element}"] + [f"{name}={value}" for name, value in macros.items()]


def tile(rows):
    """Rows of queries and keys, warps, blocks of a multiprocessor."""
    return dict(zip(("QUERY_ROWS", "KEY_ROWS", "WARPS", "BLOCKS"), rows))


def forward(dimensions, rows, element="bf16", **features):
    """Macros of attention/forward.cu."""
    return flash(dimensions, element, **tile(rows), **{"CONSTANT_BOUND": 0, "SPLIT": 0, **features})


def queries(dimensions, rows, element="bf16", **features):
    """Macros of attention/backward_queries.cu."""
    return flash(dimensions, element, **tile(rows), WIDE=int("32" in element), **features)


def keys(dimensions, rows, element="bf16", **features):
    """Macros of attention/backward_keys.cu."""
    defaults = {"STAGES": 2, "OF_KEYS": 1, "OF_VALUES": 1}
    return queries(dimensions, rows, element, **{**defaults, **features})


def hopper(dimensions, element="bf16", **rows):
    """Macros of the kernels with Hopper's own instructions; rows of the tiles that go by."""
    return flash(dimensions, element, **{"WIDE": int("32" in element), "WARPGROUPS": 2, **rows})


def linear(update, keys, columns):
    """Macros of linear/forward.cu and linear/backward.cu."""
    return [f"UPDATE={update}", f"KEYS={keys}", f"COLUMNS={columns}"]


def linear_hopper(update, keys, columns, **features):
    """Macros of linear/hopper_forward.cu."""
    macros = {"UPDATE": update, "KEYS": keys, "COLUMNS": columns, "DECAYS": 1, "NORMALIZES": 0, "OUTPUTS": 1,
              "REVERSED": 0, "FLOWS": 0, "STRICT": 0, "ACCUMULATES": 0, "BETAS": 0, "CHANNELS": 0,
              **features}
    return ["ELEMENT=bf16"] + [f"{name}={value}" for name, value in macros.items()]
