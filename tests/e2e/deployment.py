"""Reads deploy/docker-compose.yaml, and says how to run its services here without Docker.

What is run is what the file says: the same commands, flags, environment and configuration files. Only names
of other containers become addresses of this machine, and paths in a container those of the files behind them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "docker-compose.yaml"


def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


class Deployment:
    """The services of the compose file, moved to this machine.

    Args:
        addresses: ``name:port`` as containers call each other, and where that is here.
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._services = services()

    def arguments(self, service: str, files: Mapping[str, Path] | None = None) -> list[str]:
        """The command; ``files`` are used for what the container finds at other paths."""
        command = self._services[service]["command"]
        parts = shlex.split(command) if isinstance(command, str) else command
        return [self._here(part, service, files or {}) for part in parts]

    def environment(self, service: str, files: Mapping[str, Path] | None = None) -> dict[str, str]:
        """The environment, likewise."""
        return {
            name: self._here(value, service, files or {})
            for name, value in self._services[service].get("environment", {}).items()
        }

    def _here(self, text: str, service: str, files: Mapping[str, Path]) -> str:
        for path, by in {**self._mounts(service), **files}.items():
            text = text.replace(path, str(by))
        for name, address in self._addresses.items():
            text = text.replace(name, address)
        return text

    def _mounts(self, service: str) -> dict[str, Path]:
        mounts = {}
        for volume in self._services[service].get("volumes", []):
            ours, theirs, _ = volume.split(":")
            mounts[theirs] = (DEPLOY / ours).resolve()
        return mounts
