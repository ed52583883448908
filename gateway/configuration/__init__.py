"""From `setpoint.yaml` and the environment to what the gateway is built from; a file a concept.

`contracts.yaml_document` says whether the file has the right shape; here its parts are held against
each other and against the file system: secret files are read, paths resolved, names looked up.
Everything that is wrong is reported at once. Nothing is opened but the files that the configuration
names, nothing is started, and no message carries a secret.
"""

from gateway.configuration.loading import Checked, check, load

__all__ = ["Checked", "check", "load"]
