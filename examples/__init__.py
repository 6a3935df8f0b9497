"""Applications built on layered_backend: `minimal`, the whole stack in one file, and `atlas`, the same in layers."""
