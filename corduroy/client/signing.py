"""Access keys: each request is signed over its fields and body (ACL 1.0 and 2.0; AclClientRPCHook)."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key, its secret, and the token of a temporary pair."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str = field(default="", repr=False)

    def sign(self, fields: dict[str, str], body: bytes) -> dict[str, str]:
        """The fields with AccessKey and Signature: HMAC-SHA1 over the values, ordered by name, and the body."""
        signed = {**fields, "AccessKey": self.access_key}
        if self.security_token:
            signed["SecurityToken"] = self.security_token
        content = "".join(signed[name] for name in sorted(signed)).encode() + body
        digest = hmac.digest(self.secret_key.encode(), content, "sha1")
        signed["Signature"] = base64.b64encode(digest).decode()
        return signed
