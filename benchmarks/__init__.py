"""Figures that the README and the documents state, each made by a command: ``python -m benchmarks.footprint`` …"""
