"""Speed for certainty: each acceleration is off unless the application asks for it; see docs/accelerators.md."""

from layered_backend.accelerators.deferred_begin import DeferredBegin, defer_begin, only_reads

__all__ = ["DeferredBegin", "defer_begin", "only_reads"]
