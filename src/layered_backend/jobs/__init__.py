"""Background jobs: work in a unit of work of its own, for some keys, later; here or in another process."""

from layered_backend.jobs.job import Job, JobQueue
from layered_backend.jobs.runner import JobRunner
from layered_backend.jobs.work import Work, actor_here, carry_out, check_call, check_work, name_of

__all__ = [
    "Job",
    "JobQueue",
    "JobRunner",
    "Work",
    "actor_here",
    "carry_out",
    "check_call",
    "check_work",
    "name_of",
]
