"""The names and signatures of TensorRT's own Python bindings, without its libraries (gigabytes) and without a GPU.

The bindings (the package tensorrt-cu13-bindings) want three libraries beside them. Nothing in those is called just to
describe classes, so empty ones do, made by a C compiler. Run as a program in a process of its own: python
bare_tensorrt.py FOLDER makes the libraries; with LD_LIBRARY_PATH=FOLDER, python bare_tensorrt.py prints, as JSON, the
docstrings of all members of all classes, and the members of all enums. What is no method is called a property.
"""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

LIBRARIES = ("libnvinfer.so.11", "libnvinfer_plugin.so.11", "libnvonnxparser.so.11")
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)


def make_libraries(folder: Path, compiler: str) -> None:
    """Empty libraries of the right names, whose functions do nothing."""
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    for name in LIBRARIES:
        call = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(call, check=True, capture_output=True)


def described() -> dict[str, dict[str, object]]:
    """{"members": {"Builder.create_network": docstring, …}, "enums": {"BuilderFlag": ["DEBUG", …], …}}."""
    sys.setdlopenflags(os.RTLD_LAZY)
    import tensorrt_bindings as trt

    members, enums = {"__version__": trt.__version__}, {}
    for kind, cls in inspect.getmembers(trt, inspect.isclass):
        if hasattr(cls, "__members__"):
            enums[kind] = list(cls.__members__)
        for name in dir(cls):
            member = inspect.getattr_static(cls, name)
            if isinstance(member, property):
                members[f"{kind}.{name}"] = "writable property" if member.fset else "property"
            else:
                members[f"{kind}.{name}"] = member.__doc__ or ""
            if inspect.isclass(getattr(cls, name)) and hasattr(getattr(cls, name), "__members__"):
                enums[f"{kind}.{name}"] = list(getattr(cls, name).__members__)
    return {"members": members, "enums": enums}


if __name__ == "__main__":
    if len(sys.argv) == 2:
        make_libraries(Path(sys.argv[1]), "cc")
    else:
        print(json.dumps(described()))
