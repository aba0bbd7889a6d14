"""Read one host, spec or not, and change nothing: what `rigspec discover HOST` runs."""

from rigspec.operations.probe import host_probed

host_probed(name="Probe: read the host")
