"""Who sent this: signed webhooks, in and out, and callback URLs that can't be guessed."""

from __future__ import annotations

from awaitpy.webhooks._signature import Reason, SignatureRefused
from awaitpy.webhooks._standard import StandardWebhooks
from awaitpy.webhooks._stripe import StripeWebhooks
from awaitpy.webhooks._token import HookTokenRefused, check_hook_token, hook_token

__all__ = [
    "HookTokenRefused",
    "Reason",
    "SignatureRefused",
    "StandardWebhooks",
    "StripeWebhooks",
    "check_hook_token",
    "hook_token",
]
