"""`python -m examples.translation_review`, from the root of the repository; then open the page.

Settings are environment variables: `REVIEW_PORT`, `REVIEW_DATABASE` and `REVIEW_SECONDS`, which is
how long a draft waits for its reviewer.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir

import uvicorn

from examples.translation_review.app import create_app
from examples.translation_review.desk import Desk
from examples.translation_review.store import Store
from examples.translation_review.translator import word_table

FILE = Path(gettempdir(), "translation-review.sqlite3")


def main() -> None:
    port = int(os.environ.get("REVIEW_PORT", "8000"))
    desk = Desk(
        Store(os.environ.get("REVIEW_DATABASE", FILE)),
        word_table(),
        patience=timedelta(seconds=float(os.environ.get("REVIEW_SECONDS", "3600"))),
    )
    print(f"The translation desk is at http://127.0.0.1:{port}", flush=True)
    uvicorn.run(create_app(desk), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
