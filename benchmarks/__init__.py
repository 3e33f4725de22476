"""The benchmarks behind the figures in the README and the documentation: ``python -m benchmarks.footprint`` …"""
