"""The files in deploy/kubernetes/, without a cluster: what operator and kubelet would do is done by hand."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import kubernetes_validate
import pytest
import yaml

from tests.e2e.deployment import DEPLOY, ROOT
from tests.e2e.process import Program, wait_for
from tests.e2e.stack import wait_for_blocked
from tests.service.running import free_port

KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = KUBERNETES / "auto-instrumentation/Dockerfile"


def resources(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text()))


MANIFESTS = [
    pytest.param(resource, id=f"{path.name}: {resource['kind']} {resource['metadata']['name']}")
    for path in sorted(KUBERNETES.glob("*.yaml"))
    for resource in resources(path)
    if resource["kind"] != "Instrumentation"
]


@pytest.mark.parametrize("resource", MANIFESTS)
def test_manifest_is_valid(resource):
    kubernetes_validate.validate(resource, "1.33", strict=True)


def test_instrumentation_resource_has_the_fields_of_the_operator():
    (resource,) = resources(KUBERNETES / "instrumentation.yaml")
    assert (resource["apiVersion"], resource["kind"]) == ("opentelemetry.io/v1alpha1", "Instrumentation")
    assert set(resource["spec"]) <= {"exporter", "propagators", "sampler", "resource", "env", "python"}
    assert set(resource["spec"]["python"]) <= {"image", "env", "resourceRequirements", "volumeLimitSize"}
    (service,) = resources(KUBERNETES / "service-with-operator.yaml")
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    assert annotations["instrumentation.opentelemetry.io/inject-python"] == resource["metadata"]["name"]
    collector = resources(KUBERNETES / "collector.yaml")[1]
    name, port = re.fullmatch(r"http://([\w-]+):(\d+)", resource["spec"]["exporter"]["endpoint"]).groups()
    assert name == collector["metadata"]["name"]
    assert int(port) in {
        found["port"] for found in collector["spec"]["ports"] if found["name"] == "otlp-http"
    }


def test_what_the_image_copies_exists_and_both_folders_are_where_the_operator_looks():
    lines = DOCKERFILE.read_text().splitlines()
    for words in (line.split() for line in lines):
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            for source in words[1:-1]:
                assert (ROOT / source).exists(), source
    assert "COPY --from=glibc /autoinstrumentation /autoinstrumentation" in lines
    assert "COPY --from=musl /autoinstrumentation /autoinstrumentation-musl" in lines


# -- with the operator ------------------------------------------------------------------------------


def run_lines(stage: str) -> list[str]:
    """The RUN commands of one stage of the Dockerfile."""
    text = DOCKERFILE.read_text()
    (body,) = re.findall(rf"^FROM \S+{f' AS {stage}' if stage else ''}\n(.*?)(?=^FROM|\Z)", text, re.M | re.S)
    return re.findall(r"^RUN (.*)$", body, re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """``/autoinstrumentation``, made by the very commands of the Dockerfile."""
    root = tmp_path_factory.mktemp("image")
    places = {
        "/autoinstrumentation": str(root / "autoinstrumentation"),
        "/requirements.txt": str(KUBERNETES / "auto-instrumentation/requirements.txt"),
        "/wheels": str(root / "wheels"),
        "pip ": f"{sys.executable} -m pip --quiet --disable-pip-version-check ",
    }
    sources = root / "src"
    sources.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "otel_loopblock"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    for stage in ("wheel", "glibc"):
        for line in run_lines(stage):
            for place, here in places.items():
                line = re.sub(rf"(?<!\S){re.escape(place)}", here, line)
            subprocess.run(line, shell=True, check=True, cwd=sources)
    made = root / "autoinstrumentation"
    assert "chmod -R a+rX /autoinstrumentation " in DOCKERFILE.read_text()
    subprocess.run(["chmod", "-R", "a+rX", str(made)], check=True)
    return made


def other_python() -> str:
    """A Python of another version than the one that filled the folder, if there is one."""
    found = {
        tuple(int(part) for part in path.parts[-3].split(".")[:2]): str(path)
        for path in Path.home().glob(".pyenv/versions/3.1[0-9].*/bin/python")
    }
    others = [version for version in found if version != sys.version_info[:2]]
    return found[max(others)] if others else sys.executable


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """A service's own Python: FastAPI and uvicorn, nothing of OpenTelemetry."""
    home = tmp_path_factory.mktemp("service")
    shutil.copy(Path(__file__).parent / "plain_app.py", home / "app.py")
    subprocess.run([other_python(), "-m", "venv", home / "venv"], check=True)
    subprocess.run(
        [
            home / "venv/bin/pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "fastapi",
            "uvicorn[standard]",
        ],
        check=True,
    )
    return home


def test_every_user_can_read_the_folder(folder):
    for path in folder.rglob("*"):
        mode = path.stat().st_mode
        assert mode & stat.S_IROTH, path
        assert not path.is_dir() or mode & stat.S_IXOTH, path


def test_what_is_compiled_for_one_python_is_known_to_be_optional(folder):
    compiled = {path.relative_to(folder).parts[0] for path in folder.rglob("*.so") if "abi3" not in path.name}
    # wrapt falls back to Python; charset_normalizer (of requests) likewise; protobuf's is for the stable ABI.
    assert compiled <= {"wrapt", "charset_normalizer"}, "the next thing to try with another Python"


def operators_environment(folder: Path, collector: str) -> dict[str, str]:
    """What the operator adds to a container of a pod with the annotation."""
    (resource,) = resources(KUBERNETES / "instrumentation.yaml")
    spec = resource["spec"]
    return {
        "PYTHONPATH": f"{folder}/opentelemetry/instrumentation/auto_instrumentation:{folder}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_SERVICE_NAME": "operated",
        "OTEL_PROPAGATORS": ",".join(spec["propagators"]),
        "OTEL_TRACES_SAMPLER": spec["sampler"]["type"],
        "OTEL_TRACES_SAMPLER_ARG": spec["sampler"]["argument"],
        **{variable["name"]: variable["value"] for variable in spec["python"]["env"]},
    }


@contextlib.contextmanager
def container(name: str, command: list[str], environ: dict[str, str], home: Path) -> Iterator[str]:
    """Run a container's command here; yields the address of its port 8000."""
    port = str(free_port())
    command = [part.replace("8000", port).replace("0.0.0.0", "127.0.0.1") for part in command]
    url = f"http://127.0.0.1:{port}"
    program = Program(name, command, health=f"{url}/health", environ=environ, cwd=home)
    program.start()
    try:
        yield url
    finally:
        program.stop()


def ask(url: str) -> str:
    trace_id = secrets.token_hex(16)
    traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-01"
    httpx.get(f"{url}/checkout", headers={"traceparent": traceparent}, timeout=30).raise_for_status()
    return trace_id


def test_service_that_the_operator_injects_into_reports_its_blocks(stack, folder, image, report):
    (manifest,) = resources(KUBERNETES / "service-with-operator.yaml")
    program, *arguments = manifest["spec"]["template"]["spec"]["containers"][0]["command"]
    environ = operators_environment(folder, stack.otlp_http)
    # Sent as a log event too: the third pipeline of the Collector.
    environ["OTEL_PYTHON_LOOPBLOCK_REPORT"] = "all"
    python = str(image / "venv/bin" / program)
    version = subprocess.run([image / "venv/bin/python", "-V"], capture_output=True, text=True).stdout.strip()
    with container("operated", [python, *arguments], environ, image) as url:
        trace_id = ask(url)
        span = wait_for_blocked(stack, trace_id)
        event = span.event("event_loop.blocked")
        assert event["code.function.name"] == "app.checkout"
        assert event["event_loop.block.call"] == "time.sleep"
        wait_for(lambda: logged(stack, trace_id), "the log event at the Collector")
    report.append(
        f"operator's PYTHONPATH: folder filled by CPython {sys.version.split()[0]}, service on {version}: "
        f"event on {span.name}, log event at the Collector"
    )


def logged(stack, trace_id: str) -> bool:
    """Whether the Collector's debug exporter printed a log event of that trace."""
    records = stack.collector.output().split("LogRecord #")
    return any("event_loop.blocked" in record and trace_id in record for record in records[1:])


# -- without the operator ---------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "workers"), [("service-uvicorn.yaml", 1), ("service-gunicorn.yaml", 2)])
def test_service_without_the_operator_reports_its_blocks(stack, tmp_path, report, file, workers):
    (container_spec,) = resources(KUBERNETES / file)[0]["spec"]["template"]["spec"]["containers"]
    shutil.copy(Path(__file__).parent / "plain_app.py", tmp_path / "app.py")
    name = f"plain-{workers}"
    environ = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    for variable in container_spec["env"]:
        value = variable.get("value", "pod-0").replace("$(POD_NAME)", environ.get("POD_NAME", ""))
        environ[variable["name"]] = value.replace("http://otel-collector:4318", stack.otlp_http)
    environ |= {"OTEL_SERVICE_NAME": name, "OTEL_METRIC_EXPORT_INTERVAL": "2000"}
    program, *arguments = container_spec["command"]
    scripts = Path(sys.executable).parent
    environ |= {"PATH": f"{scripts}:/usr/bin:/bin", "HOME": str(tmp_path)}
    with container(name, [str(scripts / program), *arguments], environ, tmp_path) as url:
        span = wait_for_blocked(stack, ask(url))
        assert span.event("event_loop.blocked")["code.function.name"] == "app.checkout"
        # gunicorn's arbiter has an asyncio loop too, for its control socket.
        loops = f'event_loop_lag_seconds_count{{job="{name}", event_loop_type="uvloop"}}'
        instances = f"count(count by (instance) ({loops}))"
        wait_for(lambda: stack.prometheus.value(instances) == workers, f"{workers} instances of {name}")
        (target,) = stack.prometheus.query(f'target_info{{job="{name}", k8s_pod_name="pod-0"}}')[:1]
    report.append(
        f"{file}: {workers} worker(s), each an instance in Prometheus; target_info {target['metric']['job']}"
    )
