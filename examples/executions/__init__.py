"""Executions: crews and flows of tools at work on texts, for groups that do not see each other.

    routes/  ->  services.py  ->  repositories.py  ->  models.py  <-  seeds/, migrations/

Beside them, `schemas.py` has what comes in and goes out, `tools.py` what a task can do, `running.py` what runs in the
background, and `events.py` what is told of it as it goes on.

`python -m examples.executions` migrates, seeds and serves it; `uvicorn examples.executions.main:app` only serves it. Both
need `pip install 'layered-backend[all]' jinja2 python-multipart uvicorn`. DATABASE_URL names the database.
`python -m examples.executions.tests.load` puts a load on it, and `python -m examples.count_lines` tells its size.
"""
