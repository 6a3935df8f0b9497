"""The demonstration: the atlas is loaded, served and walked through over HTTP."""
