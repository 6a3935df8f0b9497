"""An atlas: countries, their subdivisions, currencies and languages, in four layers.

    routes/  ->  services.py  ->  repositories.py  ->  models.py  <-  seeds/

Beside them, `schemas.py` has what comes in and goes out, and `queries.py` what a list can be asked for.

`python -m examples.atlas` seeds it, serves it and walks through it; `uvicorn examples.atlas.main:app` only serves it.
Both need `pip install 'layered-backend[sqlite]' pycountry uvicorn`, and the walk `httpx2` and `rich`.

The data are the ISO standards 3166-1, 3166-2, 4217 and 639-3, as the package pycountry has them.
"""
