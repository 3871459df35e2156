"""``python -m r3lbench.report``."""

from __future__ import annotations

from r3lbench.report import main

if __name__ == "__main__":
    raise SystemExit(main())
