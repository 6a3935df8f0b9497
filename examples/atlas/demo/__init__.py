"""The demonstration: the atlas is seeded twice, served and walked through over HTTP."""
