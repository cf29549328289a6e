"""A federation's folders and files: who made it, who its servers are, and the tokens that let devices join.

::

    root         root.key (kept offline), root.pub, federation.json, revocations
    main         identity.key, federation.json, task.json, backbones/
    aggregator   identity.key, federation.json
    tokens       NAME.json, one for each device: goes to the device, then from here; NAME/NAME-1.json, … of many

The first three are meant to part: each goes to another machine.  All folders and files are for their owner only.
What ``federation.json`` says is believed only as far as the root signed it.
"""

from fanlight.services.federation.files import FederationFile
from fanlight.services.federation.identity import ServerIdentity, Token, load_server_identity, moved, read_token
from fanlight.services.federation.root import (
    BACKBONES_FOLDER,
    TASK_FILE,
    RevocationFile,
    free_token_name,
    init_federation,
    issue_token_file,
    issue_token_files,
    keep_backbone,
    revoke,
)

__all__ = [
    "BACKBONES_FOLDER",
    "TASK_FILE",
    "FederationFile",
    "RevocationFile",
    "ServerIdentity",
    "Token",
    "free_token_name",
    "init_federation",
    "issue_token_file",
    "issue_token_files",
    "keep_backbone",
    "load_server_identity",
    "moved",
    "read_token",
    "revoke",
]
