"""The generated modules are those of the .proto files, and the table of methods is that of their services."""

import importlib
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from integration import cri_methods

from glowplug.containerd import methods
from glowplug.containerd.rpc import Method

SHIM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "shim")
FOLDER = "glowplug/containerd/protos"
NAMES = sorted(name[:-6] for name in os.listdir(f"{SHIM}/{FOLDER}") if name.endswith(".proto"))
METHODS = {
    method.path: method
    for table in (methods, cri_methods)
    for method in vars(table).values()
    if isinstance(method, Method)
}


def generated(name: str) -> FileDescriptorProto:
    """The descriptor inside a generated module."""
    descriptor = FileDescriptorProto()
    importlib.import_module(f"{FOLDER.replace('/', '.')}.{name}_pb2").DESCRIPTOR.CopyToProto(descriptor)
    return descriptor


def protoc(*arguments: str) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools, the compiler of .proto files, is not installed")
    sources = [f"{FOLDER}/{name}.proto" for name in NAMES]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *arguments, *sources]
    subprocess.run(command, cwd=SHIM, check=True)


def without_json_names(message: Message) -> Message:
    """The compiler writes them into its descriptors, and leaves them out of a module."""
    for field, value in message.ListFields():
        if field.name == "json_name":
            message.ClearField("json_name")
        elif isinstance(value, Message):
            without_json_names(value)
        elif field.message_type:
            for one in value:
                without_json_names(one)
    return message


def test_every_module_says_what_its_proto_file_says(tmp_path: Any) -> None:
    protoc(f"--descriptor_set_out={tmp_path}/all")
    with open(f"{tmp_path}/all", "rb") as file:
        compiled = FileDescriptorSet.FromString(file.read()).file
    assert [os.path.basename(one.name) for one in compiled] == [f"{name}.proto" for name in NAMES]
    for name, one in zip(NAMES, compiled, strict=True):
        assert without_json_names(one) == without_json_names(generated(name)), f"run hack/protobuf: {name}"


def test_modules_are_as_the_pinned_compiler_writes_them(tmp_path: Any) -> None:
    protoc(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}")
    for name in NAMES:
        for ending in ("py", "pyi"):
            path = f"{FOLDER}/{name}_pb2.{ending}"
            with open(f"{SHIM}/{path}") as old, open(f"{tmp_path}/{path}") as new:
                kept, made = old.read(), new.read()
            if ending == "py":
                pin, here = _compiler(kept), _compiler(made)
                if pin != here:
                    pytest.skip(f"the modules are of protobuf {pin}, the compiler here is of {here}")
            assert kept == made, f"run hack/protobuf: {path}"


def _compiler(module: str) -> str:
    found = re.search(r"^# Protobuf Python Version: (\S+)$", module, re.MULTILINE)
    assert found
    return found[1]


def test_the_floor_for_protobuf_is_the_compilers_version() -> None:
    with open(f"{SHIM}/{FOLDER}/version_pb2.py") as module, open(f"{SHIM}/../pyproject.toml") as project:
        assert f'"protobuf>={_compiler(module.read())}"' in project.read()


def test_the_methods_are_those_of_the_services() -> None:
    services = {}
    for name in NAMES:
        module = importlib.import_module(f"{FOLDER.replace('/', '.')}.{name}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                services[path] = (method.input_type, method.output_type)
    table = {path: (one.request.DESCRIPTOR, one.answer.DESCRIPTOR) for path, one in METHODS.items()}
    assert table == services


def test_a_method_is_reported_in_messages_without_its_package() -> None:
    assert methods.GET_CONTAINER.name == "Containers.Get"
    assert methods.CRI_STATUS.name == "RuntimeService.Status"
