"""Run mypy over the package: it wants the repository's root under the name `adaspring`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "adaspring").symlink_to(ROOT)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(ROOT / ".mypy_cache")]
    environment = {**os.environ, "MYPYPATH": folder}
    sys.exit(subprocess.run(command, cwd=folder, env=environment, check=False).returncode)
