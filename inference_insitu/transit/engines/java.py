"""The Java that engines run on."""

import os
import shutil
from pathlib import Path

from cdi.errors import MissingDependencyError

INSTALL = "apt-get install openjdk-17-jre-headless"


def java() -> Path:
    """The home of a Java runtime.

    Raises
    ------
    MissingDependencyError
        If there is none.
    """
    told = os.environ.get("JAVA_HOME")
    if told and (Path(told) / "bin" / "java").exists():
        return Path(told)
    program = shutil.which("java", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin"]))
    if program is None:
        raise MissingDependencyError(f"an engine needs Java 17 or newer, which is not here; install it with: {INSTALL}")
    return Path(program).resolve().parents[1]
