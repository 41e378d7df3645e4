"""What the broker refuses, in the core's own words. Each protocol says it in its own codes (see its errors.py)."""


class BrokerError(Exception):
    """A refusal. The text goes to the client: it names the thing, the limit and the value, never a secret."""


class NotFound(BrokerError):
    """A queue, exchange or virtual host that is not there."""


class AccessRefused(BrokerError):
    """The user may not do this, or nobody may (reserved names, system exchanges)."""


class ResourceLocked(BrokerError):
    """An exclusive queue of another connection."""


class PreconditionFailed(BrokerError):
    """What is there differs from what was asked, or an argument is not valid."""


class NotAllowed(BrokerError):
    """Forbidden whatever the state: an unknown or forbidden virtual host, a reused consumer tag."""


class CommandInvalid(BrokerError):
    """The request names a kind of thing that does not exist."""


class NotSupported(BrokerError):
    """A defined request that this broker does not carry out."""


class LimitReached(BrokerError):
    """A configured bound was met; the text names it."""


class LoginRefused(BrokerError):
    """Wrong user name, password, mechanism, or a loopback-only user from elsewhere."""


class LogCorrupt(Exception):
    """A record inside the log, not its torn tail, is not valid: start-up must not go on. Names the offset."""


class StoreRefused(Exception):
    """The data directory cannot be used: another broker holds it, it is not readable, or a newer version wrote it."""


class DirectoryInUse(StoreRefused):
    """Another process holds the data directory."""


def erlang_term(value: object) -> str:
    """A string or number as RabbitMQ's texts show it (Erlang's ~p): a string is a binary, `<<"abc">>`, or the numbers
    of its bytes if one of them is no printable character."""
    if isinstance(value, bool) or not isinstance(value, (str, bytes)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    content = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if not all(0x20 <= octet < 0x7F for octet in content):
        return "<<" + ",".join(map(str, content)) + ">>"
    text = content.decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'<<"{text}">>' if text else "<<>>"
