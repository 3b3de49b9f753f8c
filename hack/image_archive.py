"""The installer's image from its base and its bundles (hack/image)."""

import os
import sys

from integration.oci_archive import ImageConfig, LayerTar, write_archive

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = ("on-node", "turn", "config-toml")


def main(name: str, archive: str, base: str, *bundles: str) -> None:
    """`bundles`: SYSTEM=DIRECTORY each, SYSTEM as a node's os-release says it."""
    layer = f"{archive}.layer"
    with LayerTar(layer) as tar:
        for bundle in bundles:
            system, _, directory = bundle.partition("=")
            place = f"installer/bundles/{system}"
            tar.tree(place, directory)
            tar.copy(f"{place}/hack/bootstrap-node.sh", f"{REPOSITORY}/hack/bootstrap-node.sh")
        for program in PROGRAMS:
            tar.copy(f"installer/{program}", f"{REPOSITORY}/runtime_config/image/{program}")
    config = ImageConfig(
        ["/installer/on-node"],
        {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        cmd=["watch"],
    )
    write_archive(archive, name, [base, layer], config)
    os.unlink(layer)


if __name__ == "__main__":
    main(*sys.argv[1:])
