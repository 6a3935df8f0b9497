"""What holds when things go wrong: the guarantees of docs/transactions.md, each by its number, on real servers."""
