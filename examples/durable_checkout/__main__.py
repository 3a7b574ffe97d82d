"""`python -m examples.durable_checkout`: the shop on port 8000, its orders and runs in shop.db."""

from __future__ import annotations

import uvicorn

from examples.durable_checkout.app import make_app

if __name__ == "__main__":
    print("curl -d '{\"total\": 4200}' http://127.0.0.1:8000/orders")
    uvicorn.run(make_app("shop.db"), host="127.0.0.1", port=8000, log_level="warning")
