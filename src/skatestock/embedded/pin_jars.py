"""Writes `jars.toml` anew: `python -m skatestock.embedded.pin_jars`, after a change of the versions below."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import Dependency, MavenContext, PythonResolver

from skatestock.embedded.archives import digest_file, digest_tree, unpack

KAFKA = "4.1.2"
REGISTRY = "3.3.3"

_KAFKA_PARTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA}",
    f"org.apache.kafka:kafka-tools:{KAFKA}",
    # A binding for logs on standard output; the version is that of Kafka's own slf4j-api.
    "org.slf4j:slf4j-simple:1.7.36",
)
# The tools bring Kafka Connect with a web server of its own; a broker needs neither.
_UNUSED_GROUPS = (
    "com.fasterxml.jackson.jakarta",
    "com.sun.activation",
    "io.github.classgraph",
    "io.swagger",
    "jakarta.",
    "javax.",
    "org.apache.commons",
    "org.apache.maven",
    "org.codehaus.plexus",
    "org.eclipse.jetty",
    "org.glassfish",
    "org.javassist",
)
_UNUSED_PREFIXES = ("connect-", "jackson-module-")


def main() -> int:
    """Resolve everything, and write coordinates, sizes and hashes."""
    with tempfile.TemporaryDirectory() as name:
        context = MavenContext(
            resolver=PythonResolver(),
            repo_cache=Path(name) / "maven",
            remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
            timeout=30,
        )
        text = _HEAD + _describe_kafka(context) + _describe_registry(context, Path(name) / "registry")
    (Path(__file__).parent / "jars.toml").write_text(text, encoding="utf-8")
    return 0


_HEAD = (
    "# What Kafka and its registry consist of. Written by `python -m skatestock.embedded.pin_jars`;\n"
    "# nothing is fetched that is not here.\n"
)


def _describe_kafka(context: MavenContext) -> str:
    given, further = context.resolver.resolve([context.create_dependency(part) for part in _KAFKA_PARTS])
    lines = [_describe(one) for one in (*given, *further) if _is_used(one)]
    return f'\n[kafka]\nversion = "{KAFKA}"\nfiles = [\n{"".join(sorted(lines))}]\n'


def _is_used(dependency: Dependency) -> bool:
    unused = dependency.groupId.startswith(_UNUSED_GROUPS) or dependency.artifactId.startswith(
        _UNUSED_PREFIXES
    )
    return dependency.scope not in ("test", "provided", "system") and not unused


def _describe(dependency: Dependency) -> str:
    path = dependency.artifact.resolve()
    coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
    return _line(coordinate, path)


def _describe_registry(context: MavenContext, folder: Path) -> str:
    component = context.project("io.apicurio", "apicurio-registry-app").at_version(REGISTRY)
    archive = component.artifact("all", "tar.gz").resolve()
    unpack(archive, folder)
    line = _line(f"io.apicurio:apicurio-registry-app:{REGISTRY}:tar.gz:all", archive)
    return f'\n[registry]\nversion = "{REGISTRY}"\ntree = "{digest_tree(folder)}"\nfiles = [\n{line}]\n'


def _line(coordinate: str, path: Path) -> str:
    size = path.stat().st_size
    return f'    {{ coordinate = "{coordinate}", bytes = {size}, sha256 = "{digest_file(path)}" }},\n'


if __name__ == "__main__":
    sys.exit(main())
