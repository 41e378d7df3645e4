"""Policies, operator policies and limits of a definitions file: from RabbitMQ's JSON to what the core takes.

Every function raises ValueError with RabbitMQ's words for what cannot be, behind the name of what is meant.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.access import UserLimits, VhostLimits, compile_pattern
from core.policies import APPLY_TO, Policy, erlang_term, wrong_definition
from gateway.shapes import Parameter, PolicyItem

OPERATOR_POLICY, VHOST_LIMITS = "operator_policy", "vhost-limits"  # components of runtime parameters
ANY_NAME = "(?:)"  # an empty pattern of a policy, unlike one of a permission


def policy(item: PolicyItem, vhost: str, *, operator: bool = False) -> Policy:
    """Check one policy."""
    try:
        return _policy(item, vhost, operator)
    except ValueError as error:
        raise ValueError(f"{'operator ' * operator}policy '{item.name}' in vhost '{vhost}': {error}") from None


def _policy(item: PolicyItem, vhost: str, operator: bool) -> Policy:
    if type(item.priority) not in (int, float):
        raise ValueError(f"priority should be a number, actually was {erlang_term(item.priority)}")
    if item.apply_to not in APPLY_TO:
        raise ValueError(f"apply-to '{item.apply_to}' unrecognised; should be one of {', '.join(APPLY_TO)}")
    wrong = wrong_definition(item.definition, operator=operator)
    if wrong is not None:
        raise ValueError(wrong)
    return Policy(
        vhost=vhost,
        name=item.name,
        pattern=compile_pattern(item.pattern or ANY_NAME),
        apply_to=item.apply_to,
        priority=item.priority,
        definition=item.definition,
    )


def operator_policy(parameter: Parameter, vhost: str) -> Policy:
    """Check one operator policy, which RabbitMQ exports among its parameters."""
    try:
        item = msgspec.convert(parameter.value, PolicyItem)
    except msgspec.ValidationError as error:
        raise ValueError(f"operator policy '{parameter.name}' in vhost '{vhost}': {error}") from None
    return policy(msgspec.structs.replace(item, name=parameter.name), vhost, operator=True)


def vhost_limits(values: Any) -> VhostLimits:
    """Check the limits of a virtual host; an empty list, which Erlang takes for an empty object, is none."""
    return VhostLimits(**_limits(values, ("max-connections", "max-queues"), "limits"))


def user_limits(values: Any) -> UserLimits:
    """Check the limits of a user."""
    return UserLimits(**_limits(values, ("max-connections", "max-channels"), "user-limits"))


def _limits(values: Any, names: tuple[str, ...], where: str) -> dict[str, int]:
    if not values:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{where} not a list {erlang_term(values)}")
    unknown = [f"{{{erlang_term(name)},{erlang_term(value)}}}" for name, value in values.items() if name not in names]
    if unknown:
        raise ValueError(f"Unrecognised terms [{','.join(unknown)}] in {where}")
    for name, value in values.items():
        if type(value) is not int:
            raise ValueError(f"{name} should be a number, actually was {erlang_term(value)}")
    return {name.replace("-", "_"): max(value, -1) for name, value in values.items()}
