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
