"""The handler comes off again: not under running pods, and then byte for byte."""

from integration.cluster.cluster import COMES_WITHIN_S, Cluster, deployment, pod_template, server, wait_until

CONFIG = "/etc/containerd/config.toml"


def test_an_uninstall_waits_for_pods_and_leaves_the_file_as_it_was(cluster: Cluster, namespace: str) -> None:
    original = cluster.run("cat", f"{CONFIG}.glowplug-original").stdout
    cluster.apply(deployment(namespace, "app", pod_template("app", [server()], gate=False)))
    cluster.ready(namespace, "app")
    refused = cluster.run("glowplug", "node", "uninstall", check=False)
    assert refused.returncode == 1 and namespace in refused.stderr
    cluster.scale(namespace, "app", 0)
    wait_until(
        lambda: not cluster.get("pods", "-A")["items"], COMES_WITHIN_S, "no pods of this test or of others"
    )
    done = cluster.run("glowplug", "node", "uninstall")
    assert "took the handler glowplug out" in done.stdout
    assert cluster.run("cat", CONFIG).stdout == original
    # An agent that still runs says that the handler is not active (`ready`), until it is stopped.
    assert "glowplug.dev/handler" not in cluster.labels()
    cluster.run("systemctl", "disable", "--now", "glowplug-agent")
    cluster.run("glowplug", "node", "uninstall", "--purge")
    assert not [name for name in cluster.labels() if "glowplug.dev/" in name]
    for path in ("/opt/glowplug", "/etc/glowplug", "/run/glowplug", "/usr/local/bin/glowplug"):
        assert cluster.run("test", "-e", path, check=False).returncode == 1, path
