"""Trains, adapts, distils and exports small vision-language models (Fang et al. 2021, arXiv:2104.02096)."""
