"""From a framework's request to a `HookRequest`, and from a `HookAnswer` to its response.

One module per framework, each with `hook_request` and `response`; nothing is imported from here.
"""
