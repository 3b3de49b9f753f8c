"""The messages of containerd's and CRI's API that Glowplug uses; `hack/protobuf` makes the modules here."""
