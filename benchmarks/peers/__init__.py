"""The same operations with other libraries, each as its own documentation teaches.

Their packages are of the benchmark's environment alone.
"""
